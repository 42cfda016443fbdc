//! Users by name, from this host's `/etc/passwd`; directory services are not queried.

use std::{fs::File, io::Read as _};

use socktrace_similar::nearest;

const FILE: &str = "/etc/passwd";

/// Maximum number of bytes to read: some 100,000 users.
const LARGEST: u64 = 8 << 20;

/// Looks up the uid of a user.
///
/// # Errors
/// With the names of known users.
pub(super) fn find(name: &str) -> Result<u32, String> {
    let mut text = Vec::new();
    let read = File::open(FILE).and_then(|file| file.take(LARGEST).read_to_end(&mut text));
    match read {
        Ok(_) => number_of(name, &String::from_utf8_lossy(&text)),
        Err(error) => Err(format!("{FORMS}; {FILE} cannot be read: {error}")),
    }
}

const SHOWN: usize = 20;

const FORMS: &str = "expected a user by number, such as 1000 (id -u NAME shows it), or by name in \
                     /etc/passwd, or one of these after ! for all others";

fn number_of(name: &str, passwd: &str) -> Result<u32, String> {
    let users = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        Some((name, number))
    });
    if let Some((_, number)) = users.clone().find(|(user, _)| *user == name) {
        return Ok(number);
    }
    let names = || users.clone().map(|(name, _)| name);
    if let Some(near) = nearest(name, names()) {
        return Err(format!("{FORMS}; did you mean {near}?"));
    }
    let shown: Vec<_> = names().take(SHOWN).collect();
    let more = if names().count() > SHOWN { " and so on" } else { "" };
    Err(format!("{FORMS}; that file has {}{more}", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n# comment\n\
                          www-data:x:33:33::/var/www:/usr/sbin/nologin\n+::::::\nbroken:x\n";

    #[test]
    fn a_name_is_that_of_a_user() {
        assert_eq!(number_of("root", PASSWD), Ok(0));
        assert_eq!(number_of("www-data", PASSWD), Ok(33));
        for (name, words) in
            [("wwwdata", "did you mean www-data"), ("zebra", "that file has root, www-data")]
        {
            let error = number_of(name, PASSWD).expect_err(name);
            assert!(error.contains(words) && error.contains("id -u NAME"), "{error}");
        }
        for name in ["", "broken", "# comment", "+"] {
            assert!(number_of(name, PASSWD).is_err(), "{name}");
        }
    }
}
