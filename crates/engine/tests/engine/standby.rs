//! Containers of build steps that are made ready while the step before runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use oriel_builder::{BuildHost as _, ExpectedRun, RunContainer, RunOptions, RunStep};
use oriel_hcs::CommandLine;
use tokio::sync::mpsc;

use crate::bench::Bench;

fn step(image: &str, command: &str) -> RunStep {
    RunStep {
        image: image.to_owned(),
        command: CommandLine::Arguments(command.split_whitespace().map(str::to_owned).collect()),
        environment: vec!["A=1".to_owned()],
        working_directory: String::new(),
        user: String::new(),
        labels: Vec::new(),
        mounts: Vec::new(),
        options: RunOptions::default(),
    }
}

/// Expects a step on the base image.
fn expect(bench: &Bench, command: &str, after: &RunContainer) -> ExpectedRun {
    let step = step("nanoserver", command);
    bench.on(async { bench.engine.expect_run(&step, after) }).unwrap()
}

/// Runs a step to its end and makes an image of it.
fn ran(bench: &Bench, container: &RunContainer) -> String {
    let (output, _pieces) = mpsc::channel(16);
    assert_eq!(bench.on(bench.engine.run(&container.id, output)).unwrap(), 0);
    let (wanted, how) = (Default::default(), oriel_engine::Stillness::Pause);
    bench.on(bench.engine.commit(&container.id, wanted, how)).unwrap().to_string()
}

fn nothing_left(bench: &Bench) {
    bench.nothing_runs();
    assert!(bench.engine.containers().is_empty());
    assert_eq!(bench.engine.images().sandboxes().unwrap(), Vec::<String>::new());
}

#[test]
fn a_step_that_was_expected_runs_on_the_new_layer_in_a_system_of_its_own() {
    let bench = Bench::new();
    let first = bench.on(bench.engine.create_run(&step("nanoserver", "out one"))).unwrap();
    let expected = expect(&bench, "out one", &first);
    let image = ran(&bench, &first);
    assert_eq!(bench.engine.containers().len(), 1, "what is not claimed is no container");
    let next = step(&image, "out two");
    let second = bench.on(bench.engine.claim_run(expected, &next)).unwrap();
    let view = bench.engine.container(&second.id).unwrap();
    assert_eq!((view.state.word(), view.spec.image_id.as_str()), ("created", image.as_str()));
    assert_eq!(bench.world.host.document(&second.id).unwrap().layers.len(), 1);
    assert_eq!(bench.world.host.layers(&second.id).unwrap().len(), 2);
    ran(&bench, &second);
    for container in [first, second] {
        bench.on(bench.engine.remove(&container.id, true)).unwrap();
    }
    nothing_left(&bench);
}

#[test]
fn a_step_that_differs_from_what_was_expected_is_not_given_it() {
    let bench = Bench::new();
    let first = bench.on(bench.engine.create_run(&step("nanoserver", "out one"))).unwrap();
    let expected = expect(&bench, "out one", &first);
    let image = ran(&bench, &first);
    let environment = vec!["A=2".to_owned()];
    let next = RunStep { environment, ..step(&image, "out two") };
    assert_eq!(bench.on(bench.engine.claim_run(expected, &next)), None);
    bench.on(bench.engine.remove(&first.id, true)).unwrap();
    nothing_left(&bench);
}

#[test]
fn what_was_claimed_and_never_started_goes_with_its_container() {
    let bench = Bench::new();
    let first = bench.on(bench.engine.create_run(&step("nanoserver", "out one"))).unwrap();
    let expected = expect(&bench, "out one", &first);
    let image = ran(&bench, &first);
    let second = bench.on(bench.engine.claim_run(expected, &step(&image, "out two"))).unwrap();
    for container in [first, second] {
        bench.on(bench.engine.remove(&container.id, false)).unwrap();
    }
    nothing_left(&bench);
}

#[test]
fn what_a_daemon_made_ready_goes_with_the_daemon() {
    let bench = Bench::new();
    let first = bench.on(bench.engine.create_run(&step("nanoserver", "stubborn"))).unwrap();
    bench.on(bench.engine.start(&first.id)).unwrap();
    let expected = expect(&bench, "stubborn", &first);
    let second =
        bench.on(bench.engine.claim_run(expected, &step("nanoserver", "out two"))).unwrap();
    let further = expect(&bench, "stubborn", &first);
    let bench = bench.reborn(|_, _| drop(further));
    assert_eq!(bench.engine.images().sandboxes().unwrap().len(), 2);
    assert_eq!(bench.world.host.systems(), [first.id.as_str()]);
    for container in [first, second] {
        bench.on(bench.engine.remove(&container.id, true)).unwrap();
    }
    nothing_left(&bench);
}
