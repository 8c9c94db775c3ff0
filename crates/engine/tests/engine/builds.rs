//! The engine as the builder drives it.

use oriel_builder::{BuildHost, RunOptions, RunOutput, RunStep};
use oriel_hcs::{CommandLine, DLL_NOT_FOUND, MissingLibrary};
use tokio::sync::mpsc;

use crate::bench::Bench;

fn step(command: &str) -> RunStep {
    RunStep {
        image: "nanoserver".to_owned(),
        command: CommandLine::Arguments(command.split_whitespace().map(str::to_owned).collect()),
        environment: Vec::new(),
        working_directory: String::new(),
        user: String::new(),
        labels: Vec::new(),
        mounts: Vec::new(),
        options: RunOptions::default(),
    }
}

#[test]
fn a_step_that_lacks_a_dll_says_which() {
    let bench = Bench::new();
    let host: &dyn BuildHost = &bench.engine;
    let lost = MissingLibrary { name: "lost.dll".into(), needed_by: "C:\\app.exe".into() };
    for (code, missing) in [(DLL_NOT_FOUND, vec![lost]), (1, Vec::new())] {
        let found = bench.on(async {
            let container = host.create_run(&step(&format!("exit {code}"))).await.unwrap();
            let (output, _pieces) = mpsc::channel(1);
            assert_eq!(host.run(&container.id, output).await.unwrap(), code);
            let missing = host.missing_libraries(&container.id).await;
            host.remove(&container.id).await.unwrap();
            missing
        });
        assert_eq!(found, missing, "{code}");
    }
}

#[test]
fn a_step_that_is_given_up_ends_without_being_asked() {
    let bench = Bench::new();
    let host: &dyn BuildHost = &bench.engine;
    bench.on(async {
        let container = host.create_run(&step("out here stubborn")).await.unwrap();
        let (output, mut pieces) = mpsc::channel(1);
        tokio::select! {
            code = host.run(&container.id, output) => panic!("it ended with {code:?}"),
            piece = pieces.recv() => assert!(matches!(piece, Some(RunOutput::Stdout(_)))),
        }
        host.remove(&container.id).await.unwrap();
        assert!(bench.engine.container(&container.id).is_err());
    });
    bench.nothing_runs();
}
