//! Records the compiler version and the git revision for `--version` and `alikafka_exporter_build_info`.

use std::{env, path::Path, process::Command};

const REVISION: &str = "ALIKAFKA_EXPORTER_REVISION";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={REVISION}");
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = output(&rustc, &["--version"]).unwrap_or_default();
    let version = version.split_whitespace().nth(1).unwrap_or("unknown");
    println!("cargo:rustc-env=ALIKAFKA_EXPORTER_RUSTC={version}");
    let revision = env::var(REVISION).ok().filter(|revision| !revision.is_empty()).or_else(git_revision);
    println!("cargo:rustc-env={REVISION}={}", revision.as_deref().unwrap_or("unknown"));
}

/// Returns the short commit hash; `None` outside of a git checkout of this package, e.g. in a source archive.
fn git_revision() -> Option<String> {
    // A checkout that merely contains an unpacked source archive has another revision than this package.
    if !Path::new(&env::var_os("CARGO_MANIFEST_DIR")?).join(".git").exists() {
        return None;
    }
    // A checkout changes HEAD. A commit changes the file of the branch, and the reflog if the ref is packed.
    let branch = output("git", &["symbolic-ref", "-q", "HEAD"]);
    for file in ["HEAD", "logs/HEAD"].into_iter().chain(branch.as_deref()) {
        let path = output("git", &["rev-parse", "--git-path", file])?;
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    output("git", &["rev-parse", "--short=12", "HEAD"])
}

/// Returns the trimmed standard output of a successful command.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
