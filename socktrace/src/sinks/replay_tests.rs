//! Tests that an event read back passes the same filters as its record.

use clap::Parser as _;

use super::{golden_tests::records, json};
use crate::{
    cli::Cli,
    filter::Filter,
    record::{Line, Record},
};

fn line(record: &Record) -> Line {
    let mut out = Vec::new();
    json::write(&mut out, record, &mut json::LastLine::default()).expect("memory");
    Line::read(&out).expect("a line")
}

#[test]
fn filters_judge_lines_as_they_judge_records() {
    let cases = [
        "--pid 81",
        "--pid 4194304",
        "--pid !81",
        "--comm nginx",
        "--comm !nginx",
        "--comm ng*",
        "--not-comm ?gin[x-z]",
        "--uid 33",
        "--not-uid root",
        "--uid !33",
        "--unit web",
        "--unit !web",
        "--unit system.slice",
        "--unit w*",
        "--not-unit *.service",
        "--not-cgroup /sys*",
        "--cgroup /system.slice",
        "--container web",
        "--netns 4026531840",
        "--netns !4026531840",
        "--port 443",
        "--port !50412",
        "--local 10.0.0.0/8",
        "--remote 2001:db8::/32",
        "--remote !10.0.0.9",
        "--protocol tcp",
        "--protocol !tcp",
        "--path /run/*",
        "--path !/run/*",
        "--errno ECONNRESET",
        "--errno !ETIMEDOUT",
        "--cause reset_by_peer",
        "--cause !write_after_reset",
        "--severity failure",
        "--severity !notable",
    ];
    // One record names another process than its event does.
    let records = records().into_iter();
    let records: Vec<_> = records
        .filter(|record| record.process.as_ref().is_none_or(|it| it.pid == record.event.tgid))
        .collect();
    let mut verdicts = [0; 2];
    for case in cases {
        let cli = Cli::try_parse_from(["socktrace"].into_iter().chain(case.split(' ')));
        let filter = Filter::from(&cli.expect("sound").filters);
        for record in &records {
            let verdict = filter.admits(record);
            assert_eq!(filter.admits_line(&line(record)), verdict, "{case}: {record:?}");
            verdicts[usize::from(verdict)] += 1;
        }
    }
    assert!(verdicts.iter().all(|count| *count > 20), "{verdicts:?}");
}
