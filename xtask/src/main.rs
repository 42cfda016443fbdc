//! Builds, runs and tests socktrace, natively and in virtual machines.

mod apt;
mod archive;
mod boot;
mod cli;
mod commands;
mod compatibility;
mod compile;
mod compression;
mod cpio;
mod debian_system;
mod debian_version;
#[expect(dead_code, reason = "socktrace's build script uses more of it")]
mod ebpf_toolchain;
mod elf;
mod fixtures;
mod initramfs;
mod kernel;
mod kvm;
mod lab;
mod mirror;
mod modules;
mod peers;
mod planned;
mod process;
mod prometheus;
mod qemu;
mod refusal;
mod setup;
mod userland;
mod verdict;
mod vmlinux;
mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match commands::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
