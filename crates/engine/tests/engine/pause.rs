//! Pauses, and reading what runs, on fakes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use oriel_engine::{CommitRequest, EngineError, ExecSpec, State, Stillness};
use oriel_hcs::Class;

use crate::bench::Bench;

const KILLED: u32 = 0x4001_0004;
const CONTROL_C_EXIT: u32 = 0xc000_013a;

fn paused(bench: &Bench, command: &str) -> String {
    let id = bench.started(command);
    bench.on(bench.engine.pause(&id)).unwrap();
    id
}

fn word(bench: &Bench, id: &str) -> &'static str {
    bench.engine.container(id).unwrap().state.word()
}

fn refused<T: std::fmt::Debug>(result: Result<T, EngineError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.class(), Class::Conflict, "{error}");
    error.to_string()
}

fn actions(bench: &Bench) -> Vec<String> {
    bench.engine.events().0.into_iter().map(|event| event.action).collect()
}

#[test]
fn a_paused_container_stands_still_and_goes_on() {
    let bench = Bench::new();
    let id = paused(&bench, "wait");
    assert!(bench.world.host.is_paused(&id));
    let state = bench.engine.container(&id).unwrap().state;
    assert_eq!((state.word(), state.is_active(), state.pid()), ("paused", true, Some(4711)));
    assert!(state.sentence(bench.engine.now()).ends_with(" (Paused)"));
    bench.on(bench.engine.unpause(&id)).unwrap();
    assert!(!bench.world.host.is_paused(&id));
    assert_eq!(word(&bench, &id), "running");
    assert!(actions(&bench).ends_with(&["pause".to_owned(), "unpause".to_owned()]));
}

#[test]
fn what_does_not_fit_a_pause_is_refused_in_dockers_words() {
    let bench = Bench::new();
    let id = bench.create("wait");
    let engine = &bench.engine;
    let idle = format!("container {id} is not running");
    assert_eq!(refused(bench.on(engine.pause(&id))), idle);
    assert_eq!(refused(bench.on(engine.unpause(&id))), idle);
    bench.on(engine.start(&id)).unwrap();
    assert_eq!(refused(bench.on(engine.unpause(&id))), format!("Container {id} is not paused"));
    let exec = || ExecSpec { command: vec!["out".to_owned()], ..ExecSpec::default() };
    let prepared = engine.exec_create(&id, exec()).unwrap();
    bench.on(engine.pause(&id)).unwrap();
    assert_eq!(refused(bench.on(engine.pause(&id))), format!("Container {id} is already paused"));
    let no_exec = format!("Container {id} is paused, unpause the container before exec");
    assert_eq!(refused(engine.exec_create(&id, exec())), no_exec);
    assert_eq!(refused(bench.on(engine.exec_start(&prepared, None)).map(drop)), no_exec);
    assert_eq!(
        refused(bench.on(engine.attach(&id, false)).map(drop)),
        format!("container {id} is paused, unpause the container before attach")
    );
    assert_eq!(
        refused(bench.on(engine.start(&id))),
        "cannot start a paused container, try unpause instead"
    );
    let still = refused(bench.on(engine.remove(&id, false)));
    assert!(still.ends_with("container is paused and must be unpaused first"), "{still}");
}

#[test]
fn what_ends_a_container_wakes_it_first() {
    let bench = Bench::new();
    let id = paused(&bench, "wait");
    bench.on(bench.engine.stop(&id, None, None)).unwrap();
    assert_eq!(bench.ended(&id), CONTROL_C_EXIT);
    let id = paused(&bench, "stubborn");
    bench.on(bench.engine.kill(&id, "")).unwrap();
    assert_eq!(bench.ended(&id), KILLED);
    let id = paused(&bench, "wait");
    bench.on(bench.engine.kill(&id, "SIGINT")).unwrap();
    assert_eq!(bench.ended(&id), CONTROL_C_EXIT);
    let id = paused(&bench, "stubborn");
    bench.on(bench.engine.remove(&id, true)).unwrap();
    assert!(bench.engine.container(&id).is_err());
    let id = paused(&bench, "wait");
    bench.on(bench.engine.restart(&id, None, None)).unwrap();
    assert_eq!(word(&bench, &id), "running");
    bench.on(bench.engine.remove(&id, true)).unwrap();
    bench.nothing_runs();
}

#[test]
fn a_pause_outlives_the_daemon_and_a_pause_to_read_does_not() {
    let bench = Bench::new();
    let (still, read) = (paused(&bench, "wait"), bench.started("wait"));
    let bench = bench.reborn(|world, _| world.host.pause(&read));
    assert_eq!((word(&bench, &still), word(&bench, &read)), ("paused", "running"));
    assert!(bench.world.host.is_paused(&still) && !bench.world.host.is_paused(&read));
    bench.on(bench.engine.unpause(&still)).unwrap();
    for id in [still, read] {
        bench.on(bench.engine.remove(&id, true)).unwrap();
    }
}

#[test]
fn a_running_container_is_committed_and_goes_on() {
    let bench = Bench::new();
    let id = bench.started("wait");
    for stillness in [Stillness::Pause, Stillness::GoOn] {
        let request = CommitRequest { comment: "c".to_owned(), ..CommitRequest::default() };
        let image = bench.on(bench.engine.commit(&id, request, stillness)).unwrap();
        assert!(bench.engine.images().image_by_id(&image).is_ok());
        assert!(!bench.world.host.is_paused(&id));
        assert_eq!(word(&bench, &id), "running");
    }
    assert_eq!(actions(&bench).last().map(String::as_str), Some("commit"));
    bench.on(bench.engine.remove(&id, true)).unwrap();
    bench.nothing_runs();
}

#[test]
fn a_commit_that_fails_leaves_nothing_and_the_container_goes_on() {
    let bench = Bench::new();
    let id = bench.started("wait");
    let sandbox = bench.engine.images().sandbox(&id).unwrap().path;
    fs_err::write(sandbox.join("registry/user.reg"), "no registry").unwrap();
    let request = CommitRequest::default();
    assert!(bench.on(bench.engine.commit(&id, request, Stillness::Pause)).is_err());
    assert!(!bench.world.host.is_paused(&id));
    let left = fs_err::read_dir(&sandbox).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with("saved")), "{left:?}");
    bench.on(bench.engine.remove(&id, true)).unwrap();
}

#[test]
fn a_paused_container_is_committed_and_stays_paused() {
    let bench = Bench::new();
    let id = paused(&bench, "wait");
    let request = CommitRequest::default();
    bench.on(bench.engine.commit(&id, request, Stillness::Pause)).unwrap();
    assert!(bench.world.host.is_paused(&id));
    assert!(matches!(bench.engine.container(&id).unwrap().state, State::Paused { .. }));
}

#[test]
fn a_running_container_is_exported_and_leaves_no_registry_behind() {
    let bench = Bench::new();
    let id = bench.started("wait");
    bench.on(bench.engine.export(&id, std::io::sink())).unwrap();
    assert_eq!(word(&bench, &id), "running");
    // The fake host checks that what it saved is gone.
    bench.on(bench.engine.remove(&id, true)).unwrap();
    bench.nothing_runs();
}
