//! Health checks on fakes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use oriel_engine::{CreateRequest, Health, HealthStatus};
use oriel_image::Healthcheck;

use crate::bench::{Bench, request};

const MILLISECOND: i64 = 1_000_000;

/// A container that is checked every millisecond by a program that does `check`.
fn checked(check: &str, settings: Healthcheck) -> CreateRequest {
    let mut request = request("wait");
    let words = std::iter::once("CMD").chain(check.split_whitespace());
    request.overrides.run.healthcheck = Some(Healthcheck {
        test: words.map(str::to_owned).collect(),
        interval: MILLISECOND,
        ..settings
    });
    request
}

fn started(bench: &Bench, check: &str, settings: Healthcheck) -> String {
    let id = bench.on(bench.engine.create(checked(check, settings))).unwrap();
    bench.on(bench.engine.start(&id)).unwrap();
    id
}

/// Waits for an event.
fn told(bench: &Bench, action: &str) {
    bench.on(async {
        let (before, mut events) = bench.engine.events();
        if before.iter().any(|event| event.action == action) {
            return;
        }
        while events.recv().await.unwrap().action != action {}
    });
}

fn health(bench: &Bench, id: &str) -> Health {
    bench.engine.container(id).unwrap().health.unwrap()
}

#[test]
fn one_success_makes_a_container_healthy() {
    let bench = Bench::new();
    let id = started(&bench, "out fine exit 0", Healthcheck::default());
    told(&bench, "health_status: healthy");
    let health = health(&bench, &id);
    assert_eq!((health.status, health.failing_streak), (HealthStatus::Healthy, 0));
    assert_eq!(health.log[0].output.trim_end(), "fine");
    bench.on(bench.engine.remove(&id, true)).unwrap();
    bench.nothing_runs();
}

#[test]
fn failures_in_a_row_make_it_unhealthy_and_five_are_kept() {
    let bench = Bench::new();
    let settings = Healthcheck { retries: 7, ..Healthcheck::default() };
    let id = started(&bench, "err broken exit 3221225781", settings);
    told(&bench, "health_status: unhealthy");
    let health = health(&bench, &id);
    assert!(health.failing_streak >= 7);
    assert_eq!(health.log.len(), 5);
    assert_eq!(health.log[0].exit_code, 3_221_225_781);
}

#[test]
fn a_check_that_takes_too_long_has_failed_and_is_ended() {
    let bench = Bench::new();
    let settings = Healthcheck { timeout: MILLISECOND, retries: 1, ..Healthcheck::default() };
    let id = started(&bench, "stubborn", settings);
    told(&bench, "health_status: unhealthy");
    let health = health(&bench, &id);
    assert_eq!(health.log[0].exit_code, -1);
    assert_eq!(health.log[0].output, "Health check exceeded timeout (1ms)");
}

#[test]
fn a_check_that_cannot_run_has_failed_and_says_why() {
    let bench = Bench::new();
    let settings = Healthcheck { retries: 1, ..Healthcheck::default() };
    let id = started(&bench, "missing", settings);
    told(&bench, "health_status: unhealthy");
    let health = health(&bench, &id);
    assert!(health.log[0].output.contains("cannot find the file"), "{health:?}");
}

#[test]
fn failures_of_the_start_period_do_not_count() {
    let bench = Bench::new();
    let settings = Healthcheck {
        start_period: 3_600_000 * MILLISECOND,
        start_interval: MILLISECOND,
        retries: 1,
        ..Healthcheck::default()
    };
    let id = started(&bench, "exit 1", settings);
    for _ in 0..3 {
        let before = health(&bench, &id).log.back().map(|probe| probe.start);
        bench.on(async {
            let (_, mut events) = bench.engine.events();
            while bench.engine.container(&id).unwrap().health.unwrap().log.back().map(|p| p.start)
                == before
            {
                events.recv().await.unwrap();
            }
        });
    }
    let health = health(&bench, &id);
    assert_eq!((health.status, health.failing_streak), (HealthStatus::Starting, 0));
}

#[test]
fn what_has_ended_is_unhealthy_and_its_next_run_begins_anew() {
    let bench = Bench::new();
    let id = started(&bench, "exit 0", Healthcheck::default());
    told(&bench, "health_status: healthy");
    bench.on(bench.engine.stop(&id, None, None)).unwrap();
    bench.ended(&id);
    assert_eq!(health(&bench, &id).status, HealthStatus::Unhealthy);
    bench.on(bench.engine.start(&id)).unwrap();
    assert!(health(&bench, &id).log.len() <= 1);
}

#[test]
fn a_daemon_that_is_born_again_goes_on_checking() {
    let bench = Bench::new();
    let id = started(&bench, "exit 0", Healthcheck::default());
    told(&bench, "health_status: healthy");
    let bench = bench.reborn(|_, _| {});
    told(&bench, "health_status: healthy");
    assert_eq!(health(&bench, &id).status, HealthStatus::Healthy);
}

#[test]
fn none_turns_checks_off() {
    let bench = Bench::new();
    let mut request = checked("exit 0", Healthcheck::default());
    if let Some(check) = &mut request.overrides.run.healthcheck {
        check.test = vec!["NONE".to_owned()];
    }
    let id = bench.on(bench.engine.create(request)).unwrap();
    bench.on(bench.engine.start(&id)).unwrap();
    assert_eq!(bench.engine.container(&id).unwrap().health, None);
}

#[test]
fn durations_that_no_daemon_could_keep_to_are_refused_in_dockers_words() {
    let bench = Bench::new();
    let retries = Healthcheck { retries: -1, ..Healthcheck::default() };
    let timeout = Healthcheck { timeout: MILLISECOND - 1, ..Healthcheck::default() };
    for (settings, text) in [
        (retries, "Retries in Healthcheck cannot be negative"),
        (timeout, "Timeout in Healthcheck cannot be less than 1ms"),
    ] {
        let error = bench.on(bench.engine.create(checked("exit 0", settings))).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}
