//! x
pub(crate) fn run(_args: &crate::cli::LintArgs) -> anyhow::Result<std::process::ExitCode> {
    todo!()
}
