//! x
pub(crate) fn run(_args: &crate::cli::TestArgs) -> anyhow::Result<std::process::ExitCode> {
    todo!()
}
