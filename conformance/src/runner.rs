//! Runs cases one after the other and reports, in the form test runners use.

use std::{panic::AssertUnwindSafe, time::Instant};

use anyhow::Result;

use crate::Daemon;

/// How a case ended.
pub enum Outcome {
    /// What it claims holds.
    Passed,
    /// It could not be tried here, and why.
    Skipped(String),
}

/// A case: its name is the claim it proves.
pub struct Case {
    /// The claim.
    pub name: &'static str,
    /// The proof.
    pub run: fn(&mut Daemon) -> Result<Outcome>,
}

/// Runs the cases whose name contains `filter` (all when empty) and prints one line each, then
/// `test result: …`. Returns whether none failed.
#[expect(clippy::print_stdout, reason = "a test runner reports on standard output")]
pub fn run(cases: &[Case], filter: &str, daemon: &mut Daemon) -> bool {
    let (mut passed, mut skipped, mut failures) = (0, 0, Vec::new());
    for case in cases.iter().filter(|case| case.name.contains(filter)) {
        let start = Instant::now();
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| (case.run)(daemon)))
            .unwrap_or_else(|_| Err(anyhow::anyhow!("panicked")));
        let seconds = start.elapsed().as_secs_f32();
        match result {
            Ok(Outcome::Passed) => {
                passed += 1;
                println!("test {} ... ok ({seconds:.1} s)", case.name);
            }
            Ok(Outcome::Skipped(why)) => {
                skipped += 1;
                println!("test {} ... ignored\nskipped: {why}", case.name);
            }
            Err(error) => {
                println!("test {} ... FAILED ({seconds:.1} s)\n{error:?}", case.name);
                failures.push(case.name);
                // The next cases are to tell of themselves.
                daemon.clear();
            }
        }
    }
    let verdict = if failures.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {} failed; {skipped} ignored; 0 measured; \
         0 filtered out",
        failures.len()
    );
    println!("{passed} passed, {} failed, {skipped} skipped", failures.len());
    failures.is_empty()
}
