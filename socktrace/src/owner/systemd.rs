//! Names of systemd units, as they appear in cgroup paths.

/// Maximum length of a unit's name: systemd's `UNIT_NAME_MAX` without the final NUL.
const UNIT_LIMIT: usize = 255;

/// Unit types that have cgroups.
const TYPES: [&str; 6] = ["service", "scope", "socket", "mount", "swap", "slice"];

/// The unit that a cgroup is named after, spelled as in `systemctl`: with its escapes (`\x2d`).
///
/// systemd prefixes an underscore to names that could clash with the kernel's own files
/// (`cg_escape`); it is removed here.
pub(super) fn unit(component: &str) -> Option<&str> {
    let name = component.strip_prefix('_').unwrap_or(component);
    let (stem, kind) = name.rsplit_once('.')?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let good = name.len() <= UNIT_LIMIT
        && TYPES.contains(&kind)
        && !stem.is_empty()
        && stem.bytes().all(allowed)
        // A template has no cgroup; only its instances do.
        && stem.split_once('@').is_none_or(|(prefix, instance)| {
            !prefix.is_empty() && !instance.is_empty()
        });
    good.then_some(name)
}

/// Whether a unit only groups others. Slices are never delegated: systemd refuses `Delegate=` for
/// them.
pub(super) fn is_slice(unit: &str) -> bool {
    unit.strip_suffix(".slice").is_some()
}

/// The user whose service manager the unit is: `user@1000.service`.
pub(super) fn user_manager(unit: &str) -> Option<u32> {
    uid(unit.strip_prefix("user@")?.strip_suffix(".service")?)
}

/// The user whose slice the unit is: `user-1000.slice`.
pub(super) fn user_slice(unit: &str) -> Option<u32> {
    uid(unit.strip_prefix("user-")?.strip_suffix(".slice")?)
}

fn uid(text: &str) -> Option<u32> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    // The highest 16-bit and 32-bit numbers mean "no user" to the kernel.
    text.parse().ok().filter(|uid| canonical && ![65_535, u32::MAX].contains(uid))
}

/// Resolves the escapes (`\x2d` for `-`) in a part of a unit's name; `None` if the result is not
/// text.
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        let digits = after.get(..2).filter(|two| two.bytes().all(|c| c.is_ascii_hexdigit()))?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        plain.extend_from_slice(before.as_bytes());
        plain.push(byte);
        rest = &after[2..];
    }
    plain.extend_from_slice(rest.as_bytes());
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_as_systemd_decodes_them() {
        for (component, expected) in [
            ("getty@tty2.service", Some("getty@tty2.service")),
            ("getty@.service", None),
            ("@a.service", None),
            (".service", None),
            ("getty", None),
            ("getty####@tty6.service", None),
            ("_cpu.service", Some("cpu.service")),
            ("__x.service", Some("_x.service")),
            ("system-serial\\x2dgetty.slice", Some("system-serial\\x2dgetty.slice")),
            ("init.scope", Some("init.scope")),
            ("multi-user.target", None),
            ("a b.service", None),
            ("caf\u{e9}.service", None),
        ] {
            assert_eq!(unit(component), expected, "{component}");
        }
        assert!(unit(&format!("{}.service", "a".repeat(247))).is_some());
        assert!(unit(&format!("{}.service", "a".repeat(248))).is_none());
    }

    #[test]
    fn users() {
        assert_eq!(user_manager("user@1000.service"), Some(1000));
        assert_eq!(user_manager("user@0.service"), Some(0));
        for bad in ["user@.service", "user@01.service", "user@+1.service", "user@-1.service"] {
            assert_eq!(user_manager(bad), None, "{bad}");
        }
        assert_eq!(user_manager("user@4294967295.service"), None);
        assert_eq!(user_slice("user-1000.slice"), Some(1000));
        assert_eq!(user_slice("user-waldo.slice"), None);
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape("my\\x2dweb").as_deref(), Some("my-web"));
        assert_eq!(unescape("web").as_deref(), Some("web"));
        assert_eq!(unescape("\\x"), None);
        assert_eq!(unescape("\\x2"), None);
        assert_eq!(unescape("\\xff"), None);
        assert_eq!(unescape("\\x+f"), None);
        assert_eq!(unescape("\\x\u{e9}").as_deref(), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|([\\\\x2d@._a-]{0,20})") {
            let _unit = unit(&text);
            let _plain = unescape(&text);
        }
    }
}
