//! Builds the personality and the base images: `build DATA_ROOT`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data_root = PathBuf::from(std::env::args().nth(1).ok_or("usage: build DATA_ROOT")?);
    let options = oriel_personality::BuildOptions {
        keep_work: std::env::var_os("ORIEL_KEEP_WORK").is_some(),
        ..Default::default()
    };
    let mut out = std::io::stdout();
    let start = Instant::now();
    let mut last = String::new();
    let built = oriel_personality::build(&data_root, &options, &mut |step| {
        let text = format!("{} {}", step.stage.name(), step.text);
        if text != last {
            let _ = writeln!(out, "{:7.1} s  {text}", start.elapsed().as_secs_f64());
            last = text;
        }
    })?;
    let mut out = std::io::stdout();
    writeln!(out, "{:7.1} s  done", start.elapsed().as_secs_f64())?;
    writeln!(out, "{}", serde_json::to_string_pretty(&built)?)?;
    Ok(())
}
