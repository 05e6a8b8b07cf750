//! What the binary can write about itself: completion scripts and manual pages.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Cli;
use crate::failure::Failure;
use crate::output::Output;

/// `completions`.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "homing", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script)?;
    Ok(out.flush()?)
}

/// `man`: a page per command, `homing-host-pair.1` and so on.
pub(crate) fn man(dir: &Path, out: Output) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::failed(format!("cannot write manual pages to {}: {error}", dir.display()));
    fs::create_dir_all(dir).map_err(cannot)?;
    let mut root = Cli::command();
    root.build();
    let mut pages = Vec::new();
    write_page(&root, "homing", dir, &mut pages).map_err(cannot)?;
    out.say(&serde_json::json!({ "pages": pages }), format_args!("{} pages in {}", pages.len(), dir.display()))
}

fn write_page(command: &Command, name: &str, dir: &Path, pages: &mut Vec<String>) -> io::Result<()> {
    let mut page = Vec::new();
    Man::new(command.clone()).title(name.to_uppercase()).render(&mut page)?;
    let file = format!("{name}.1");
    fs::write(dir.join(&file), page)?;
    pages.push(file);
    for sub in command.get_subcommands() {
        write_page(sub, &format!("{name}-{}", sub.get_name()), dir, pages)?;
    }
    Ok(())
}
