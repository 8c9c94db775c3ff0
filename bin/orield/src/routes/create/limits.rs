//! Limits of a container: memory, processors, tasks.

use oriel_api::container::HostConfig;
use oriel_engine::EngineError;
use oriel_hcs::Limits;

pub(super) fn limits(host: &HostConfig, warnings: &mut Vec<String>) -> Result<Limits, EngineError> {
    const ONE_CPU: u64 = 1_000_000_000;

    let positive = |name: &str, value: Option<i64>| match value.unwrap_or(0) {
        // Docker's "unlimited" of the pids limit.
        -1 if name == "PidsLimit" => Ok(None),
        0 => Ok(None),
        value => u64::try_from(value).map(Some).map_err(|_| {
            EngineError::invalid(format!("invalid {name}: {name} cannot be negative"))
        }),
    };
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let nano = positive("NanoCpus", host.nano_cpus)?;
    let count = positive("CPUCount", host.cpu_count)?;
    let percent = positive("CPUPercent", host.cpu_percent)?;
    let shares = positive("CPUShares", host.cpu_shares)?;
    if percent.is_some_and(|percent| percent > 100) {
        warnings.push("CPUPercent is above 100. Using 100.".to_owned());
    }
    // On Windows count comes before shares, and shares before percent.
    let nano_cpus =
        nano.or_else(|| count.map(|count| count.saturating_mul(ONE_CPU))).or_else(|| {
            percent
                .filter(|_| shares.is_none())
                .map(|percent| percent.min(100) * cpus * (ONE_CPU / 100))
        });
    if nano_cpus.is_some() && shares.is_some() {
        warnings.push(
            "Conflicting options: CPU count takes priority over CPU shares on Windows Server \
             Containers. CPU shares discarded"
                .to_owned(),
        );
    }
    let weight = shares.filter(|_| nano_cpus.is_none());
    if weight.is_some_and(|weight| weight > 10_000) {
        return Err(EngineError::invalid("range of CPUShares is from 1 to 10000"));
    }
    Ok(Limits {
        memory_bytes: positive("Memory", host.memory)?,
        nano_cpus,
        cpu_weight: weight.and_then(|weight| u32::try_from(weight).ok()),
        tasks: positive("PidsLimit", host.pids_limit)?,
    })
}
