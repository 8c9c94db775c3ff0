//! The engine on fakes: no root, no network, no Windows.

mod bench;
mod builds;
mod copies;
mod health;
mod limits;
mod networks;
mod pause;
mod registry;
mod standby;
mod volumes;

use bench::{Bench, request};
use oriel_engine::{
    CommitRequest, EngineError, ExecSpec, ExecState, LogDriver, LogOptions, RestartPolicy,
    Stillness, Stream, StreamOptions, WaitFor,
};
use oriel_hcs::Class;

const KILLED: u32 = 0x4001_0004;
const CONTROL_C_EXIT: u32 = 0xc000_013a;

#[test]
fn a_container_runs_and_leaves_its_log_and_exit_code() {
    let bench = Bench::new();
    let id = bench.started("out one err two exit 3221225786");
    assert_eq!(bench.ended(&id), 3_221_225_786);
    assert_eq!(bench.log(&id, LogOptions::default()), ["one", "two"]);
    assert_eq!(bench.engine.container(&id).unwrap().state.word(), "exited");
    bench.nothing_runs();
}

#[test]
fn an_ended_container_starts_again() {
    let bench = Bench::new();
    let id = bench.started("out one");
    bench.ended(&id);
    bench.on(bench.engine.start(&id)).unwrap();
    bench.ended(&id);
    assert_eq!(bench.log(&id, LogOptions::default()), ["one", "one"]);
}

#[test]
fn starting_twice_is_not_modified() {
    let bench = Bench::new();
    let id = bench.started("wait");
    let error = bench.on(bench.engine.start(&id)).unwrap_err();
    assert_eq!(error.class(), Class::NotModified);
}

#[test]
fn stop_asks_first() {
    let bench = Bench::new();
    let id = bench.started("wait");
    bench.on(bench.engine.stop(&id, None, None)).unwrap();
    assert_eq!(bench.ended(&id), CONTROL_C_EXIT);
    let error = bench.on(bench.engine.stop(&id, None, None)).unwrap_err();
    assert_eq!(error.class(), Class::NotModified);
    bench.nothing_runs();
}

#[test]
fn stop_kills_what_does_not_end_within_its_grace() {
    let bench = Bench::new();
    let id = bench.started("stubborn");
    bench.on(bench.engine.stop(&id, Some(0), None)).unwrap();
    assert_eq!(bench.ended(&id), KILLED);
    bench.nothing_runs();
}

#[test]
fn kill_ends_at_once_and_an_interrupt_asks() {
    let bench = Bench::new();
    let id = bench.started("stubborn");
    bench.on(bench.engine.kill(&id, "")).unwrap();
    assert_eq!(bench.ended(&id), KILLED);
    let id = bench.started("wait");
    bench.on(bench.engine.kill(&id, "SIGINT")).unwrap();
    assert_eq!(bench.ended(&id), CONTROL_C_EXIT);
    let error = bench.on(bench.engine.kill(&id, "KILL")).unwrap_err();
    assert_eq!(error.to_string(), format!("container {id} is not running"));
}

#[test]
fn a_container_to_be_removed_leaves_nothing_behind() {
    let bench = Bench::new();
    let mut request = request("out hi exit 7");
    request.host.auto_remove = true;
    let id = bench.on(bench.engine.create(request)).unwrap();
    let removed = bench.engine.wait(&id, WaitFor::Removed).unwrap();
    bench.on(bench.engine.start(&id)).unwrap();
    assert_eq!(bench.on(removed).0, 7);
    assert!(bench.engine.container(&id).is_err());
    assert_eq!(bench.engine.images().sandboxes().unwrap(), Vec::<String>::new());
    bench.nothing_runs();
}

#[test]
fn a_failed_start_is_undone_and_explained() {
    let bench = Bench::new();
    let id = bench.create("missing");
    let error = bench.on(bench.engine.start(&id)).unwrap_err();
    assert_eq!(error.class(), Class::Invalid);
    assert!(error.to_string().contains("The system cannot find the file specified."));
    let view = bench.engine.container(&id).unwrap();
    assert_eq!((view.state.word(), view.state.exit_code()), ("created", 127));
    bench.nothing_runs();
}

#[test]
fn a_running_container_is_removed_by_force_only() {
    let bench = Bench::new();
    let id = bench.started("stubborn");
    let error = bench.on(bench.engine.remove(&id, false)).unwrap_err();
    assert!(matches!(error, EngineError::StillRunning { .. }));
    bench.on(bench.engine.remove(&id, true)).unwrap();
    assert!(bench.engine.container(&id).is_err());
    assert_eq!(bench.engine.images().sandboxes().unwrap(), Vec::<String>::new());
    bench.nothing_runs();
}

#[test]
fn names_are_unique_and_free_again_after_removal() {
    let bench = Bench::new();
    let named = |name: &str| {
        let mut request = request("out hi");
        request.name = Some(name.to_owned());
        request
    };
    let id = bench.on(bench.engine.create(named("/web"))).unwrap();
    let error = bench.on(bench.engine.create(named("web"))).unwrap_err();
    assert_eq!(error.class(), Class::Conflict);
    bench.on(bench.engine.rename("web", "db")).unwrap();
    assert_eq!(bench.engine.container("/db").unwrap().id, id);
    bench.on(bench.engine.create(named("web"))).unwrap();
    bench.on(bench.engine.remove("db", false)).unwrap();
    bench.on(bench.engine.create(named("db"))).unwrap();
}

#[test]
fn containers_are_found_by_the_beginning_of_their_id() {
    let bench = Bench::new();
    let id = bench.create("out hi");
    assert_eq!(bench.engine.container(&id[..9]).unwrap().id, id);
    let error = bench.engine.container("nobody").unwrap_err();
    assert_eq!(error.to_string(), "No such container: nobody");
}

#[test]
fn a_missing_image_is_not_found_and_frees_the_name() {
    let bench = Bench::new();
    for _ in 0..2 {
        let mut request = request("out hi");
        request.name = Some("web".to_owned());
        request.image = "nope".to_owned();
        let error = bench.on(bench.engine.create(request)).unwrap_err();
        assert_eq!(error.to_string(), "No such image: nope:latest");
    }
}

#[test]
fn a_policy_starts_what_fails_as_often_as_it_says() {
    let bench = Bench::new();
    let mut request = request("out again exit 3");
    request.host.restart = RestartPolicy::OnFailure { limit: 2 };
    let id = bench.on(bench.engine.create(request)).unwrap();
    bench.on(bench.engine.start(&id)).unwrap();
    assert_eq!(bench.ended(&id), 3);
    assert_eq!(bench.log(&id, LogOptions::default()), ["again", "again", "again"]);
    assert_eq!(bench.engine.container(&id).unwrap().restarts, 2);
    bench.nothing_runs();
}

#[test]
fn a_container_that_pauses_before_its_restart_can_be_stopped() {
    let bench = Bench::new();
    let mut request = request("exit 3");
    request.host.restart = RestartPolicy::Always;
    let id = bench.on(bench.engine.create(request)).unwrap();
    let exit = bench.engine.wait(&id, WaitFor::NextExit).unwrap();
    bench.on(bench.engine.start(&id)).unwrap();
    bench.on(exit);
    bench.on(bench.engine.stop(&id, Some(0), None)).unwrap();
    bench.ended(&id);
    assert_eq!(bench.engine.container(&id).unwrap().state.word(), "exited");
}

#[test]
fn every_attached_client_sees_the_output_and_its_end() {
    let bench = Bench::new();
    let id = bench.create("out one out two");
    let mut first = bench.on(bench.engine.attach(&id, false)).unwrap();
    let mut second = bench.on(bench.engine.attach(&id, false)).unwrap();
    bench.on(bench.engine.start(&id)).unwrap();
    for attached in [&mut first, &mut second] {
        let mut text = Vec::new();
        while let Some(chunk) = bench.on(attached.output.recv()) {
            assert_eq!(chunk.stream, Stream::Stdout);
            text.extend_from_slice(&chunk.bytes);
        }
        assert_eq!(text, b"one\r\ntwo\r\n");
    }
}

#[test]
fn input_reaches_the_program_until_its_end() {
    let bench = Bench::new();
    let mut request = request("cat");
    request.streams =
        StreamOptions { open_stdin: true, stdin_once: true, ..StreamOptions::default() };
    let id = bench.on(bench.engine.create(request)).unwrap();
    let mut attached = bench.on(bench.engine.attach(&id, false)).unwrap();
    bench.on(bench.engine.start(&id)).unwrap();
    assert!(bench.on(attached.stdin.ready()));
    bench.on(attached.stdin.write(b"typed".to_vec())).unwrap();
    bench.on(attached.stdin.close()).unwrap();
    assert_eq!(&bench.on(attached.output.recv()).unwrap().bytes[..], b"typed");
    assert_eq!(bench.ended(&id), 0);
}

#[test]
fn logs_have_a_tail_and_a_beginning_in_time() {
    let bench = Bench::new();
    let id = bench.started("out one out two out three");
    bench.ended(&id);
    let tail = LogOptions { tail: Some(2), ..LogOptions::default() };
    assert_eq!(bench.log(&id, tail), ["two", "three"]);
    let options = LogOptions { stdout: true, ..LogOptions::default() };
    let (_, mut records) = bench.on(async { bench.engine.logs(&id, options) }).unwrap();
    let records = bench.on(records.recv()).unwrap();
    let [first, second] = [0, 1].map(|at| records[at].clone());
    let since = LogOptions { since: Some(second.time), ..LogOptions::default() };
    assert_eq!(bench.log(&id, since), ["two", "three"]);
    let until = LogOptions { until: Some(first.time), ..LogOptions::default() };
    assert_eq!(bench.log(&id, until), ["one"]);
}

#[test]
fn following_a_log_ends_with_the_run() {
    let bench = Bench::new();
    let id = bench.started("out one wait");
    let options = LogOptions { stdout: true, follow: true, ..LogOptions::default() };
    let (_, mut records) = bench.on(async { bench.engine.logs(&id, options) }).unwrap();
    assert_eq!(bench.on(records.recv()).unwrap()[0].text, b"one\r\n");
    bench.on(bench.engine.stop(&id, None, None)).unwrap();
    assert_eq!(bench.on(records.recv()), None);
}

#[test]
fn who_follows_a_log_sees_every_line_across_its_files() {
    let bench = Bench::new();
    let words: Vec<String> = (0..300).map(|number| format!("out {number}")).collect();
    let mut request = request(&words.join(" "));
    request.host.log = LogDriver::Local;
    let options = [("max-size", "100"), ("max-file", "1000"), ("compress", "true")];
    request.host.log_options = options.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let id = bench.on(bench.engine.create(request)).unwrap();
    bench.on(bench.engine.start(&id)).unwrap();
    let followed = bench.log(&id, LogOptions { follow: true, ..LogOptions::default() });
    let expected: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    assert_eq!(followed, expected);
    assert_eq!(
        bench.log(&id, LogOptions { tail: Some(250), ..LogOptions::default() }),
        expected[50..]
    );
    bench.on(bench.engine.remove(&id, false)).unwrap();
    assert!(!bench.engine.root().join("containers").join(&id).exists());
}

#[test]
fn an_exec_has_its_own_exit_code_and_output() {
    let bench = Bench::new();
    let id = bench.started("wait");
    let words = |command: &str| command.split(' ').map(str::to_owned).collect();
    let spec = ExecSpec { command: words("out hi exit 5"), ..ExecSpec::default() };
    let exec = bench.engine.exec_create(&id, spec).unwrap();
    let (mut output, _stdin) = bench.on(bench.engine.exec_start(&exec, None)).unwrap();
    assert_eq!(&bench.on(output.recv()).unwrap().bytes[..], b"hi\r\n");
    assert_eq!(bench.on(output.recv()), None);
    assert_eq!(bench.engine.exec(&exec).unwrap().state, ExecState::Exited(5));
    let error = bench.on(bench.engine.exec_start(&exec, None)).map(drop).unwrap_err();
    assert_eq!(error.class(), Class::Conflict);

    let spec = ExecSpec { command: words("missing"), ..ExecSpec::default() };
    let exec = bench.engine.exec_create(&id, spec).unwrap();
    assert!(bench.on(bench.engine.exec_start(&exec, None)).is_err());
    assert_eq!(bench.engine.exec(&exec).unwrap().state, ExecState::Exited(127));
}

#[test]
fn events_tell_the_story_of_a_run() {
    let bench = Bench::new();
    let mut request = request("exit 4");
    request.host.auto_remove = true;
    let id = bench.on(bench.engine.create(request)).unwrap();
    let removed = bench.engine.wait(&id, WaitFor::Removed).unwrap();
    bench.on(bench.engine.start(&id)).unwrap();
    bench.on(removed);
    let (events, _) = bench.engine.events();
    let story: Vec<_> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(story, ["create", "connect", "start", "die", "disconnect", "destroy"]);
    assert_eq!(events[3].attributes["exitCode"], "4");
}

#[test]
fn a_client_that_leaves_does_not_stop_an_operation() {
    let bench = Bench::new();
    let id = bench.create("wait");
    bench.on(async {
        let mut start = Box::pin(bench.engine.start(&id));
        // One step, then the client is gone.
        tokio::select! {
            biased;
            _ = &mut start => {}
            () = std::future::ready(()) => {}
        }
        drop(start);
    });
    let error = bench.on(bench.engine.stop(&id, None, None));
    let ended = bench.ended(&id);
    assert!(error.is_ok() || ended == 0);
    // Whatever came first: the start ran to its end, and nothing is half there.
    bench.on(bench.engine.remove(&id, true)).unwrap();
    bench.nothing_runs();
}

// What a daemon finds that another one left.

#[test]
fn a_running_container_is_taken_up_with_its_output_and_exit_code() {
    let bench = Bench::new();
    let id = bench.started("out one wait");
    while bench.log(&id, LogOptions::default()).is_empty() {}
    let bench = bench.reborn(|_, _| {});
    assert_eq!(bench.engine.container(&id).unwrap().state.word(), "running");
    assert_eq!(bench.world.network.compartments(), std::slice::from_ref(&id));
    assert_eq!(bench.world.network.endpoints().len(), 1);
    bench.on(bench.engine.stop(&id, None, None)).unwrap();
    assert_eq!(bench.ended(&id), CONTROL_C_EXIT);
    assert_eq!(bench.log(&id, LogOptions::default()), ["one"]);
    bench.nothing_runs();
}

#[test]
fn an_exec_works_in_a_container_that_was_taken_up() {
    let bench = Bench::new();
    let id = bench.started("wait");
    let bench = bench.reborn(|_, _| {});
    let command = ["out", "hi"].map(str::to_owned).to_vec();
    let spec = ExecSpec { command, ..ExecSpec::default() };
    let exec = bench.engine.exec_create(&id, spec).unwrap();
    let (mut output, _stdin) = bench.on(bench.engine.exec_start(&exec, None)).unwrap();
    assert_eq!(&bench.on(output.recv()).unwrap().bytes[..], b"hi\r\n");
}

#[test]
fn a_run_that_ended_while_nobody_looked_keeps_its_exit_code() {
    let bench = Bench::new();
    let id = bench.started("wait");
    let bench = bench.reborn(|world, _| world.host.end_unseen(&id, 0xc000_0005));
    let state = bench.engine.container(&id).unwrap().state;
    assert_eq!((state.word(), state.exit_code(), state.error()), ("exited", 0xc000_0005, ""));
    bench.nothing_runs();
}

#[test]
fn a_system_that_vanished_counts_as_killed() {
    let bench = Bench::new();
    let id = bench.started("wait");
    let bench = bench.reborn(|world, _| world.host.lose(&id));
    let state = bench.engine.container(&id).unwrap().state;
    assert_eq!((state.word(), state.exit_code()), ("exited", KILLED));
    assert!(!state.error().is_empty());
}

#[test]
fn a_container_that_was_to_be_removed_is_removed_later() {
    let bench = Bench::new();
    let mut removed = request("wait");
    removed.host.auto_remove = true;
    let running = bench.on(bench.engine.create(removed.clone())).unwrap();
    bench.on(bench.engine.start(&running)).unwrap();
    // Its client died between create and start.
    bench.on(bench.engine.create(removed)).unwrap();
    let bench = bench.reborn(|world, _| world.host.end_unseen(&running, 0));
    assert_eq!(bench.engine.containers(), []);
    assert_eq!(bench.engine.images().sandboxes().unwrap(), Vec::<String>::new());
}

#[test]
fn a_policy_starts_its_container_with_the_daemon() {
    let bench = Bench::new();
    let mut always = request("wait");
    always.host.restart = RestartPolicy::UnlessStopped;
    let lost = bench.on(bench.engine.create(always.clone())).unwrap();
    let stopped = bench.on(bench.engine.create(always)).unwrap();
    for id in [&lost, &stopped] {
        bench.on(bench.engine.start(id)).unwrap();
    }
    bench.on(bench.engine.stop(&stopped, None, None)).unwrap();
    let bench = bench.reborn(|world, _| world.host.lose(&lost));
    while !bench.engine.container(&lost).unwrap().state.is_running() {
        std::thread::yield_now();
    }
    assert_eq!(bench.engine.container(&stopped).unwrap().state.word(), "exited");
}

#[test]
fn what_no_container_owns_is_removed() {
    let bench = Bench::new();
    let id = bench.started("wait");
    // A sandbox, a log and a system whose record was never written.
    let orphan = "f".repeat(64);
    bench.on(bench.engine.stop(&id, None, None)).unwrap();
    let image = bench.engine.images().resolve("nanoserver").unwrap().id;
    let settings = oriel_image::SandboxSettings::default();
    bench.engine.images().create_sandbox(&orphan, &image, &settings).unwrap();
    let bench = bench.reborn(|_, root| {
        fs_err::create_dir_all(root.join("containers").join(&orphan)).unwrap();
    });
    assert_eq!(bench.engine.images().sandboxes().unwrap(), [id]);
    assert!(!bench.engine.root().join("containers").join(&orphan).exists());
}

#[test]
fn the_daemons_size_is_for_containers_that_do_not_say() {
    let bench = Bench::new();
    let bench = bench.reborn_with(|world| world.sandbox_size = Some(1));
    // Both are sizes that no sandbox can have, so that this needs no privilege.
    let error = bench.on(bench.engine.create(request("wait"))).unwrap_err();
    assert!(error.to_string().starts_with("a sandbox of 1 bytes is not possible"), "{error}");
    let mut own = request("wait");
    own.host.sandbox_size = Some(2);
    let error = bench.on(bench.engine.create(own)).unwrap_err();
    assert!(error.to_string().starts_with("a sandbox of 2 bytes is not possible"), "{error}");
    assert_eq!(error.class(), Class::Invalid);
    assert_eq!(bench.engine.images().sandboxes().unwrap(), Vec::<String>::new());
}

#[test]
fn a_prune_tells_the_bytes_that_are_gone() {
    let bench = Bench::new();
    let [ended, running] = [bench.started("out one"), bench.started("wait")];
    bench.ended(&ended);
    for id in [&ended, &running] {
        let sandbox = bench.engine.images().sandbox(id).unwrap();
        fs_err::write(sandbox.path.join("upper/data"), "12345").unwrap();
    }
    let views = bench.engine.containers();
    let usage = bench.on(bench.engine.usage(&views));
    assert_eq!((usage.len(), usage[&running].own), (2, 5));
    let pruned = bench.on(bench.engine.prune(|_| true)).unwrap();
    assert_eq!(pruned, (vec![ended], 5));
    let (events, _) = bench.engine.events();
    let last = events.last().unwrap();
    assert_eq!((last.kind, last.action.as_str()), ("container", "prune"));
    assert_eq!(last.attributes["reclaimed"], "5");
    bench.on(bench.engine.stop(&running, None, None)).unwrap();
}

#[test]
fn pruning_images_keeps_what_is_in_use_and_what_it_stands_on() {
    let bench = Bench::new();
    let base = bench.engine.images().resolve("nanoserver").unwrap().id;
    let id = bench.create("out one");
    let sandbox = bench.engine.images().sandbox(&id).unwrap();
    fs_err::write(sandbox.path.join("upper/data"), "12345").unwrap();
    let commit = bench.engine.commit(&id, CommitRequest::default(), Stillness::Pause);
    let image = bench.on(commit).unwrap();
    assert_eq!(bench.on(bench.engine.prune_images(|image| image.id == base)).unwrap().0, []);
    let (removed, reclaimed) = bench.on(bench.engine.prune_images(|_| true)).unwrap();
    assert_eq!(removed, [oriel_image::Removed::Deleted(image)]);
    assert_eq!(reclaimed, 5);
    bench.on(bench.engine.remove(&id, false)).unwrap();
    let (removed, _) = bench.on(bench.engine.prune_images(|_| true)).unwrap();
    assert!(removed.contains(&oriel_image::Removed::Deleted(base)), "{removed:?}");
    assert_eq!(bench.engine.images().list().unwrap(), []);
}
