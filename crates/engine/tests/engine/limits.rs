//! Limits that change, and what is used of them, on fakes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use oriel_engine::{EngineError, RestartPolicy, Samples};
use oriel_hcs::Class;

use crate::bench::{Bench, request};

fn update_tasks(bench: &Bench, id: &str, tasks: u64) -> Result<(), EngineError> {
    bench.on(bench.engine.update(id, move |host| {
        host.limits.tasks = Some(tasks);
        Ok(())
    }))
}

fn followed(bench: &Bench, id: &str) -> Samples {
    bench.on(async { bench.engine.samples(id).unwrap() })
}

#[test]
fn limits_change_at_once_and_are_kept() {
    let bench = Bench::new();
    let id = bench.started("wait");
    update_tasks(&bench, &id, 64).unwrap();
    assert_eq!(bench.world.host.limits(&id).unwrap().tasks, Some(64));
    assert_eq!(bench.engine.container(&id).unwrap().spec.host.limits.tasks, Some(64));
    let actions: Vec<_> = bench.engine.events().0.into_iter().map(|event| event.action).collect();
    assert_eq!(actions.last().unwrap(), "update");
    let bench = bench.reborn(|_, _| {});
    assert_eq!(bench.engine.container(&id).unwrap().spec.host.limits.tasks, Some(64));
}

#[test]
fn limits_of_a_stopped_container_hold_from_its_next_start() {
    let bench = Bench::new();
    let id = bench.create("wait");
    update_tasks(&bench, &id, 64).unwrap();
    bench.on(bench.engine.start(&id)).unwrap();
    assert_eq!(bench.world.host.limits(&id).unwrap().tasks, Some(64));
}

#[test]
fn what_the_kernel_refuses_changes_nothing() {
    let bench = Bench::new();
    let id = bench.started("wait");
    let refused = bench.on(bench.engine.update(&id, |host| {
        // The fake kernel's word for a limit below what is used.
        host.limits.memory_bytes = Some(6 << 20);
        Ok(())
    }));
    let text = refused.unwrap_err().to_string();
    assert!(text.starts_with(&format!("Cannot update container {id}: ")), "{text}");
    assert_eq!(bench.engine.container(&id).unwrap().spec.host.limits.memory_bytes, None);
}

#[test]
fn a_container_to_be_removed_at_its_end_gets_no_restart_policy() {
    let bench = Bench::new();
    let mut asked = request("wait");
    asked.host.auto_remove = true;
    let id = bench.on(bench.engine.create(asked)).unwrap();
    let refused = bench.on(bench.engine.update(&id, |host| {
        host.restart = RestartPolicy::Always;
        Ok(())
    }));
    assert_eq!(refused.unwrap_err().class(), Class::Conflict);
}

#[test]
fn a_run_that_ran_out_of_memory_says_so_until_the_next() {
    let bench = Bench::new();
    let id = bench.started("wait");
    bench.world.host.kill_for_memory(&id);
    bench.on(bench.engine.stop(&id, None, None)).unwrap();
    bench.ended(&id);
    assert!(bench.engine.container(&id).unwrap().state.out_of_memory());
    let actions: Vec<_> = bench.engine.events().0.into_iter().map(|event| event.action).collect();
    assert!(actions.iter().any(|action| action == "oom"), "{actions:?}");
    bench.on(bench.engine.start(&id)).unwrap();
    assert!(!bench.engine.container(&id).unwrap().state.out_of_memory());
    bench.on(bench.engine.stop(&id, None, None)).unwrap();
    bench.ended(&id);
    assert!(!bench.engine.container(&id).unwrap().state.out_of_memory());
}

#[test]
fn followers_of_a_container_share_what_is_measured() {
    let bench = Bench::new();
    let id = bench.started("wait");
    let mut first = followed(&bench, &id);
    let mut others: Vec<_> = (0..10).map(|_| followed(&bench, &id)).collect();
    let sample = bench.on(first.next()).unwrap();
    for other in &mut others {
        assert_eq!(bench.on(other.next()).unwrap().read, sample.read);
    }
    assert_eq!(bench.world.host.measured(), 1);
    assert_eq!(sample.statistics.as_ref().unwrap().private_bytes, 4096);
    let endpoint = &bench.engine.container(&id).unwrap().compartment.unwrap().endpoints[0].0.id;
    assert_eq!(sample.endpoints[endpoint].received_bytes, 7);
}

#[test]
fn following_goes_on_while_a_container_is_stopped_and_ends_with_it() {
    let bench = Bench::new();
    let id = bench.started("wait");
    let mut samples = followed(&bench, &id);
    assert!(bench.on(samples.next()).unwrap().statistics.is_some());
    bench.on(bench.engine.stop(&id, None, None)).unwrap();
    bench.ended(&id);
    while bench.on(samples.next()).unwrap().statistics.is_some() {}
    bench.on(bench.engine.remove(&id, true)).unwrap();
    while bench.on(samples.next()).is_some() {}
}

#[test]
fn nobody_is_measured_whom_nobody_follows() {
    let bench = Bench::new();
    let id = bench.started("wait");
    let mut samples = followed(&bench, &id);
    bench.on(samples.next()).unwrap();
    drop(samples);
    let mut again = followed(&bench, &id);
    bench.on(again.next()).unwrap();
    assert!(bench.world.host.measured() <= 3, "one task for each time it was followed");
}
