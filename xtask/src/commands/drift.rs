//! Changes between kernels in what socktrace looks up in them, and their effect on its hooks. A
//! break by a new kernel is thus seen before users meet it.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::Result;
use socktrace_lab::{
    compatibility,
    fixtures::{self, Captured},
    kernel,
    kernel_plan::KernelPlan,
    setup::Need,
};
use socktrace_plan::{
    btf::BtfError,
    hooks::Hook,
    plan::Method,
    subject::{self, Subject},
};
use xtask_common::arch::Arch;

use crate::cli::DriftArgs;

/// Descriptions of a kernel's types and functions, by subject. Subjects that the kernel lacks are
/// absent.
type View = BTreeMap<Subject, String>;

/// Compares the newest kernels of all series, oldest to newest.
///
/// # Errors
///
/// When the kernels in the tree cannot be read. A series that cannot be fetched is reported and counted
/// as failed.
pub(crate) fn run(args: &DriftArgs) -> Result<ExitCode> {
    let setup = args.no_setup.setup();
    setup.ensure(&[Need::Machines(Arch::AMD64)])?;
    let mut kernels = Vec::new();
    let mut failed = false;
    for series in &kernel::ALL {
        match Captured::fetch(series, &setup, &args.mirrors) {
            Ok(captured) => kernels.push(captured),
            Err(error) => {
                println!("FAIL {}: {error:#}", series.name);
                failed = true;
            }
        }
    }
    let kept = fixtures::all()?;
    for captured in &kernels {
        let name = captured.series.name;
        if let Some(old) = kept.iter().find(|old| old.series == captured.series)
            && old.release != captured.release
        {
            show(&format!("{} to {}", old.release, captured.release), old, captured);
        }
        let older = kernels.iter().take_while(|other| other.series != captured.series).last();
        if let Some(older) = older {
            show(&format!("{} to {name}", older.series.name), older, captured);
        }
    }
    for (method, words) in [(Method::Fentry, "trampolines"), (Method::Kprobe, "kprobes")] {
        let plans: Vec<_> =
            kernels.iter().map(|captured| KernelPlan::new(captured, method)).collect();
        print!("\nBy {words}:\n\n{}\n", compatibility::hooks(&plans));
        for planned in &plans {
            failed |= judge(planned);
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints the differences between two kernels.
fn show(heading: &str, old: &Captured, new: &Captured) {
    println!("{heading}");
    let changes = changes(&view(old), &view(new));
    if changes.is_empty() {
        println!("  nothing that socktrace looks up");
    }
    for change in changes {
        println!("  {change}");
    }
}

fn view(captured: &Captured) -> View {
    let describe = |subject: Subject| match subject.describe(&captured.btf) {
        Ok(found) => Some((subject, found)),
        Err(BtfError::Missing { .. }) => None,
        Err(error) => Some((subject, error.to_string())),
    };
    subject::all().into_iter().filter_map(describe).collect()
}

/// Subjects that appeared, vanished or changed, in order.
fn changes(old: &View, new: &View) -> Vec<String> {
    subject::all()
        .into_iter()
        .filter_map(|subject| match (old.get(&subject), new.get(&subject)) {
            (None, Some(new)) => Some(format!("appeared  {subject}: {new}")),
            (Some(old), None) => Some(format!("vanished  {subject}: {old}")),
            (Some(old), Some(new)) if old != new => {
                Some(format!("changed   {subject}: {old}, now {new}"))
            }
            _ => None,
        })
        .collect()
}

/// Prints what a kernel hides. Returns whether any of it is new.
fn judge(planned: &KernelPlan) -> bool {
    let mut news = false;
    for lost in planned.losses() {
        let known = lost.is_known(planned.series);
        news |= !known;
        let word = if known { "known" } else { "NEW  " };
        let hook = lost.hook.map_or("-", Hook::id);
        println!("{word} {:<5} {hook}: {}; hidden: {}", planned.series, lost.reason, lost.hides);
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_named_by_their_kind() {
        let view = |members: &[(Subject, &str)]| -> View {
            members.iter().map(|&(subject, text)| (subject, text.to_owned())).collect()
        };
        let (done, reset) = (Subject::Function("tcp_done"), Subject::Function("tcp_reset"));
        let err = Subject::Member("sock", "sk_err");
        let old = view(&[(done, "void ()"), (reset, "void (a)"), (err, "number of 4 bytes")]);
        let new = view(&[(reset, "void (a, b)"), (err, "number of 4 bytes")]);
        assert_eq!(
            changes(&old, &new),
            ["vanished  tcp_done(): void ()", "changed   tcp_reset(): void (a), now void (a, b)"]
        );
        assert_eq!(changes(&new, &old)[0], "appeared  tcp_done(): void ()");
        assert!(changes(&old, &old).is_empty());
    }
}
