//! Fragments of Dockerfiles for Windows as people write them, each with what it is read as.
//!
//! A file of fragments looks so; the outcome is the instructions with their lines, then what the
//! checks find, or the error with its place:
//!
//! ```text
//! === title
//! FROM servercore
//! RUN a
//! --- outcome
//! 1 from servercore
//! 2 run< a
//! ```

use oriel_ignore::Ignore;

use crate::{
    BuildRequest, lint,
    parse::{
        self, Command, Dockerfile, HereDocument, Instruction, MountFlag, Pair, Probe, Run, Transfer,
    },
    plan::Plan,
};

const FILES: &[&str] = &[
    include_str!("corpus/errors.txt"),
    include_str!("corpus/heredocs.txt"),
    include_str!("corpus/installers.txt"),
    include_str!("corpus/paths.txt"),
    include_str!("corpus/powershell.txt"),
    include_str!("corpus/runtimes.txt"),
    include_str!("corpus/stages.txt"),
    include_str!("corpus/syntax.txt"),
];

/// Title, text and outcome of each fragment.
fn fragments() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    FILES.iter().flat_map(|file| file.split("=== ").skip(1)).map(|fragment| {
        let (title, rest) = fragment.split_once('\n').unwrap();
        let (text, outcome) = rest.split_once("--- outcome\n").unwrap_or((rest, ""));
        (title, text, outcome)
    })
}

/// What a text is read as.
fn outcome(text: &str) -> String {
    let file = match parse::parse("Dockerfile", text.as_bytes()) {
        Ok(file) => file,
        Err(error) => {
            let place = error.position.map(|at| format!("{}:{} ", at.line, at.column));
            return format!("error {}{}\n", place.unwrap_or_default(), error.problem);
        }
    };
    let findings = lint::check(&file, &Ignore::default()).list;
    let mut out = shape(&file);
    for finding in findings {
        out += &format!("! {} {}\n", finding.position.line, finding.rule);
    }
    for warning in &file.warnings {
        out += &format!("~ {warning}\n");
    }
    // Whatever can be read can be planned, in this corpus.
    Plan::new(file, &BuildRequest::default()).unwrap();
    out
}

fn shape(file: &Dockerfile) -> String {
    let lines = file.statements.iter().map(|statement| {
        let line = statement.position.line;
        format!("{line} {}\n", instruction(&statement.instruction))
    });
    lines.collect()
}

fn instruction(instruction: &Instruction) -> String {
    match instruction {
        Instruction::From { image, name, platform } => {
            let name = name.iter().map(|name| format!(" as {name}"));
            let platform = platform.iter().map(|platform| format!(" on {platform}"));
            format!("from {image}{}", name.chain(platform).collect::<String>())
        }
        Instruction::Run(run) => of_run(run),
        Instruction::Cmd(command) => format!("cmd{}", of_command(command)),
        Instruction::Entrypoint(command) => format!("entrypoint{}", of_command(command)),
        Instruction::Shell(words) => format!("shell{words:?}"),
        Instruction::Transfer(transfer) => of_transfer(transfer),
        Instruction::Env(pairs) => format!("env{}", of_pairs(pairs)),
        Instruction::Label(pairs) => format!("label{}", of_pairs(pairs)),
        Instruction::Arg(list) => {
            let list = list.iter().map(|(name, value)| {
                let value = value.iter().map(|value| format!("={value}"));
                format!(" {name}{}", value.collect::<String>())
            });
            format!("arg{}", list.collect::<String>())
        }
        Instruction::Workdir(path) => format!("workdir {path}"),
        Instruction::User(user) => format!("user {user}"),
        Instruction::Expose(ports) => format!("expose {}", ports.join(" ")),
        Instruction::Volume(paths) => format!("volume{paths:?}"),
        Instruction::StopSignal(signal) => format!("stopsignal {signal}"),
        Instruction::Maintainer(name) => format!("maintainer {name}"),
        Instruction::OnBuild(text) => format!("onbuild {text:?}"),
        Instruction::Healthcheck(check) => {
            let probe = match &check.probe {
                Probe::None => " none".to_owned(),
                Probe::Command(command) => of_command(command),
            };
            let times = [check.interval, check.timeout, check.start_period, check.start_interval]
                .map(|nanoseconds| format!("{}ms", nanoseconds / 1_000_000));
            format!("healthcheck({} {}){probe}", times.join(" "), check.retries)
        }
    }
}

fn of_command(command: &Command) -> String {
    match command {
        Command::Shell(text) => format!("< {text}"),
        Command::Exec(words) => format!("{words:?}"),
    }
}

fn of_documents<'a>(documents: impl Iterator<Item = &'a HereDocument>) -> String {
    let texts = documents.map(|document| {
        let kind = if document.expands { "" } else { " kept" };
        format!(" <{}{kind} {:?}>", document.name, document.text)
    });
    texts.collect()
}

fn of_run(run: &Run) -> String {
    let mounts: String = run.mounts.iter().map(of_mount).collect();
    let network = if run.no_network { "{no network}" } else { "" };
    let documents = of_documents(run.documents.iter().map(|(_, document)| document));
    format!("run{mounts}{network}{}{documents}", of_command(&run.command))
}

fn of_mount(mount: &MountFlag) -> String {
    let mut text = format!("{{{:?} {:?}", mount.kind, mount.sharing).to_lowercase();
    let parts = [
        ("from", &mount.from),
        ("source", &mount.source),
        ("target", &mount.target),
        ("id", &mount.id),
    ];
    for (name, value) in parts {
        text.extend(value.iter().map(|value| format!(" {name}={value}")));
    }
    text.extend(mount.size_bytes.map(|size| format!(" {size}B")));
    text.extend(mount.required.then_some(" required"));
    text + "}"
}

fn of_transfer(transfer: &Transfer) -> String {
    let mut text = transfer.kind.keyword().to_lowercase();
    let flags =
        [("from", &transfer.from), ("chown", &transfer.chown), ("checksum", &transfer.checksum)];
    for (name, value) in flags {
        text.extend(value.iter().map(|value| format!("{{{name} {value}}}")));
    }
    text.extend(transfer.unpack.map(|unpack| format!("{{unpack {unpack}}}")));
    text.extend(transfer.parents.then_some("{parents}"));
    text.extend(transfer.chmod.then_some("{chmod}"));
    text.extend(transfer.exclude.iter().map(|pattern| format!("{{without {pattern}}}")));
    let documents = of_documents(transfer.documents.iter());
    format!("{text}{:?}{documents} > {}", transfer.sources, transfer.destination)
}

fn of_pairs(pairs: &[Pair]) -> String {
    pairs.iter().map(|Pair { name, value }| format!(" {name}={value}")).collect()
}

#[test]
fn fragments_are_read_as_they_are_meant() {
    let mut count = 0;
    let mut wrong = String::new();
    for (title, text, expected) in fragments() {
        let found = outcome(text);
        if found != expected {
            wrong += &format!("=== {title}\n{text}--- outcome\n{found}");
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 150, "{count} fragments");
}

#[test]
fn line_ends_of_windows_change_nothing() {
    for (title, text, _) in fragments() {
        let windows = text.replace('\n', "\r\n");
        let found = outcome(&windows).replace("\\r\\n", "\\n");
        assert_eq!(found, outcome(text), "{title}");
    }
}

#[test]
fn a_byte_order_mark_changes_nothing() {
    for (title, text, _) in fragments() {
        assert_eq!(outcome(&format!("\u{feff}{text}")), outcome(text), "{title}");
    }
}

#[test]
fn a_cut_fragment_is_read_or_refused_with_its_place() {
    for (title, text, _) in fragments() {
        for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            if let Err(error) = parse::parse("Dockerfile", &text.as_bytes()[..cut]) {
                let whole = error.to_string();
                let named = error.position.is_some() || whole.contains("file");
                assert!(named, "{title} up to {cut}: {whole}");
            }
        }
    }
}
