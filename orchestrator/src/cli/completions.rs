//! `amore completions SHELL`.

use clap_complete::Shell;

/// Print shell completions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: amore completions bash > ~/.local/share/bash-completion/completions/amore")]
pub struct Arguments {
    /// Shell.
    shell: Shell,
}

pub fn run(arguments: &Arguments, mut command: clap::Command) {
    let name = command.get_name().to_owned();
    clap_complete::generate(arguments.shell, &mut command, name, &mut std::io::stdout());
}
