//! The code of README.md, of the pages in docs/guide/ and of those beside it does what they say.
//!
//! The commands in blocks marked `sh` are run, page by page and in their order, in an empty folder in which
//! `data`, `docs` and `crates` are those of the repository. `eps`, also as `cargo run --release --bin eps --`,
//! is the program under test; other commands of cargo are passed over, since they build, fetch or test. A
//! block that cannot be run here says why: `sh ignore: it fetches 60 MB`.
//!
//! Blocks marked `json` are read as what a command reads there: an operator, the description of a prior, a law of operators. What a block
//! marked `toml` depends on of this project is there. Blocks marked `python` need packages that the tests do not have, and say so, as
//! `python ignore: it needs h5py`.
//!
//! Blocks marked `rust` are files that are compiled elsewhere, or parts of such, which the line above the
//! block names: `<!-- This is crates/eps/examples/restore.rs. -->`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use eps::math::operator::OperatorSpec;
use eps::math::{OperatorLaw, SigmaYLaw};
use eps::model::PriorDescription;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The programs that a page may call beside `eps`: those that are everywhere and touch what the line names.
const PROGRAMS: [&str; 8] = ["cargo", "cat", "cp", "echo", "head", "ls", "mkdir", "printf"];

/// `cargo`, as far as a page is run without it.
const CARGO: &str = r#"
cargo() {
    case "$*" in
        "run --release --bin eps -- "*) shift 5; eps "$@" ;;
    esac
}
"#;

/// Code between two fences.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// The line of the first fence, from 1.
    line: usize,
    /// What stands behind the fence: the language, and marks.
    mark: String,
    /// The line above the fence.
    above: String,
    lines: Vec<String>,
}

/// The blocks of a page, those in lists too, without the indentation of their fence.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    let mut above = "";
    for (index, line) in page.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let fence = line.trim_start().strip_prefix("```");
        open = match (open, fence) {
            (None, Some(mark)) => {
                let (mark, above) = (mark.trim().to_owned(), above.trim().to_owned());
                Some((indent, Block { line: index + 1, mark, above, lines: vec![] }))
            }
            (Some((_, block)), Some("")) => {
                blocks.push(block);
                None
            }
            (Some((indent, mut block)), _) => {
                block.lines.push(line.get(indent..).unwrap_or_default().to_owned());
                Some((indent, block))
            }
            (None, None) => None,
        };
        above = line;
    }
    assert!(open.is_none(), "a block has no end: {open:?}");
    blocks
}

/// Whether a block of this language is to be checked; one that is not says why.
fn is_checked(block: &Block, language: &str) -> bool {
    let Some(rest) = block.mark.strip_prefix(language) else { return false };
    match rest.trim() {
        "" => true,
        mark => {
            let reason = mark.strip_prefix("ignore:").map(str::trim);
            assert!(
                reason.is_some_and(|reason| !reason.is_empty()),
                "line {}: a block that is not run says why, as in `{language} ignore: it trains for hours`",
                block.line
            );
            false
        }
    }
}

/// The commands of a block, each with its line in the page: a line, or several that end in a backslash.
fn commands(block: &Block) -> Vec<(usize, String)> {
    let mut commands: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in block.lines.iter().enumerate() {
        let text = line.trim();
        if goes_on {
            let (_, command) = commands.last_mut().unwrap();
            command.push('\n');
            command.push_str(line);
        } else if !text.is_empty() && !text.starts_with('#') {
            commands.push((block.line + 1 + index, line.clone()));
        }
        goes_on = text.ends_with('\\');
    }
    commands
}

/// Runs the commands of a page in a folder of its own; what fails is named with its line.
fn run(page: &str, text: &str) {
    let folder = tempfile::tempdir().unwrap();
    for shared in ["data", "docs", "crates"] {
        symlink(Path::new(REPOSITORY).join(shared), folder.path().join(shared)).unwrap();
    }
    let programs = tempfile::tempdir().unwrap();
    symlink(env!("CARGO_BIN_EXE_eps"), programs.path().join("eps")).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", programs.path().display());

    for block in blocks(text).iter().filter(|block| is_checked(block, "sh")) {
        for (line, command) in commands(block) {
            let program = command.split_whitespace().next().unwrap_or_default();
            assert!(
                program == "eps" || PROGRAMS.contains(&program),
                "{page}:{line}: the tests do not call `{program}`: mark the block `sh ignore: REASON`"
            );
            let output = Command::new("sh")
                .args(["-euc", &format!("{CARGO}\n{command}")])
                .current_dir(folder.path())
                .env("PATH", &path)
                // Tests share the machine: one thread each.
                .env("OMP_NUM_THREADS", "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{page}:{line}: `{command}` failed\n{said}");
        }
    }
}

/// README.md and the pages of the guide, by their paths in the repository.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(REPOSITORY);
    let mut paths = vec![PathBuf::from("README.md")];
    if let Ok(guide) = fs::read_dir(root.join("docs/guide")) {
        let mut guide: Vec<PathBuf> =
            guide.map(|page| Path::new("docs/guide").join(page.unwrap().file_name())).collect();
        guide.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
        guide.sort();
        paths.extend(guide);
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(root.join(&path)).unwrap();
        (path.display().to_string(), text)
    };
    paths.into_iter().map(read).collect()
}

/// Those, and the pages beside the guide, whose commands are run too.
fn pages_with_commands() -> Vec<(String, String)> {
    let docs = fs::read_dir(Path::new(REPOSITORY).join("docs")).unwrap();
    let mut paths: Vec<PathBuf> = docs.map(|page| page.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.sort();
    let beside = paths.into_iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (format!("docs/{name}"), fs::read_to_string(&path).unwrap())
    });
    pages().into_iter().chain(beside).collect()
}

/// The file that the line above a block names.
fn named_file(above: &str) -> Option<&str> {
    let words = above.strip_prefix("<!--")?.strip_suffix("-->")?.split_whitespace();
    words.map(|word| word.trim_end_matches('.')).find(|word| word.ends_with(".rs"))
}

#[test]
fn commands_of_the_pages_do_what_they_say() {
    let pages = pages_with_commands();
    std::thread::scope(|scope| {
        for (page, text) in &pages {
            std::thread::Builder::new()
                .name(page.clone())
                .spawn_scoped(scope, || run(page, text))
                .unwrap();
        }
    });
}

#[test]
fn rust_of_the_pages_is_compiled_elsewhere() {
    for (page, text) in pages() {
        for block in blocks(&text).iter().filter(|block| is_checked(block, "rust")) {
            let place = format!("{page}:{}", block.line);
            let file = named_file(&block.above).unwrap_or_else(|| {
                panic!(
                    "{place}: the line above names no file that is compiled: write `<!-- This is \
                     crates/CRATE/examples/NAME.rs. -->`"
                )
            });
            let source = fs::read_to_string(Path::new(REPOSITORY).join(file))
                .unwrap_or_else(|error| panic!("{place}: {file}: {error}"));
            let lines: Vec<&str> = source.lines().collect();
            let is_part = lines.windows(block.lines.len()).any(|window| window == block.lines);
            assert!(is_part, "{place}: the block is no part of {file}: copy its lines");
        }
    }
}

#[test]
fn json_of_the_pages_is_what_a_command_reads() {
    /// A part of a training's configuration.
    #[derive(serde::Deserialize)]
    #[expect(dead_code, reason = "it is read, and that is all")]
    struct Law {
        tasks: OperatorLaw,
        sigma_y: SigmaYLaw,
    }
    let mut read = 0;
    for (page, text) in pages() {
        for block in blocks(&text).iter().filter(|block| is_checked(block, "json")) {
            let json = block.lines.join("\n");
            let errors = [
                serde_json::from_str::<OperatorSpec>(&json).err(),
                serde_json::from_str::<PriorDescription>(&json).err(),
                serde_json::from_str::<Law>(&format!("{{{json}}}")).err(),
            ];
            assert!(errors.iter().any(Option::is_none), "{page}:{}: {errors:?}", block.line);
            read += 1;
        }
    }
    assert!(read >= 3, "{read}");
}

#[test]
fn toml_of_the_pages_names_crates_that_are_there() {
    let mut named = 0;
    for (page, text) in pages() {
        for block in blocks(&text).iter().filter(|block| is_checked(block, "toml")) {
            for line in &block.lines {
                let Some((_, path)) = line.split_once("path = \"../eps/") else { continue };
                let path = path.split('"').next().unwrap_or_default();
                let there = Path::new(REPOSITORY).join(path).join("Cargo.toml").is_file();
                assert!(there, "{page}:{}: {path} is no crate", block.line);
                named += 1;
            }
        }
    }
    assert!(named >= 2, "{named}");
}

#[test]
fn python_of_the_pages_says_what_it_needs() {
    for (page, text) in pages() {
        for block in blocks(&text).iter().filter(|block| block.mark.starts_with("python")) {
            let said = !is_checked(block, "python");
            assert!(said, "{page}:{}: write `python ignore: it needs …`", block.line);
        }
    }
}

#[test]
fn blocks_are_read_with_their_marks_and_lines() {
    let page = "Text\n<!-- This is a/b.rs. -->\n```rust\nfn main() {}\n```\n- item\n\n  ```sh\n  eps a \\\n      \
                b\n\n  # why\n  eps c  # d\n  ```\n```sh ignore: it trains for hours\neps train\n```\n";
    let found = blocks(page);
    assert_eq!(found.len(), 3);
    assert_eq!((found[0].line, found[0].mark.as_str()), (3, "rust"));
    assert_eq!(named_file(&found[0].above), Some("a/b.rs"));
    assert_eq!(found[0].lines, ["fn main() {}"]);
    assert_eq!(
        commands(&found[1]),
        [(9, "eps a \\\n    b".to_owned()), (13, "eps c  # d".to_owned())]
    );
    let checked: Vec<bool> = found.iter().map(|block| is_checked(block, "sh")).collect();
    assert_eq!(checked, [false, true, false]);
    assert_eq!(named_file("<!-- An example. -->"), None);
    assert_eq!(named_file("See a/b.rs"), None);
}

#[test]
#[should_panic(expected = "line 1: a block that is not run says why")]
fn a_block_that_is_not_run_says_why() {
    is_checked(&blocks("```sh ignore\neps train\n```")[0], "sh");
}

#[test]
#[should_panic(expected = "page.md:3: `cargo run --release --bin eps -- no-such-command` failed")]
fn a_command_that_fails_is_named_with_its_line() {
    run(
        "page.md",
        "```sh\ncargo xtask fetch photos\ncargo run --release --bin eps -- no-such-command\n```",
    );
}

#[test]
#[should_panic(expected = "page.md:2: the tests do not call `rm`")]
fn a_program_that_the_tests_do_not_know_is_not_called() {
    run("page.md", "```sh\nrm -r data\n```");
}

#[test]
fn files_of_one_command_are_there_for_the_next() {
    run(
        "page.md",
        "```sh\neps --help > help.txt\n```\n\n```sh\ncp help.txt copy.txt\ncat copy.txt data/README.md\n```",
    );
}
