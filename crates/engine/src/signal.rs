//! What a Unix signal means to a Windows container.

use oriel_hcs::ControlEvent;

use crate::EngineError;

/// What a signal becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The container ends at once.
    Kill,
    /// The container's first process gets a console control event.
    Event(ControlEvent),
    /// Nothing, unless it is how the container wants to be stopped: on Unix, too, pid 1 takes no
    /// notice of this signal. The Docker CLI passes on each it gets, such as that of a window
    /// that has another size.
    Ignored(u8),
}

/// Names of signals, as `moby/sys/signal` lists them for Linux; the index is not the number.
const NAMES: [(&str, u8); 32] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
];

/// Reads a signal: a number, or a name with `SIG` or without it, in any case.
///
/// # Errors
/// `Invalid` for anything else, in Docker's words.
pub fn action(signal: &str) -> Result<Action, EngineError> {
    let invalid = || EngineError::InvalidSignal { signal: signal.to_owned() };
    let upper = signal.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = match name.parse::<u8>() {
        Ok(number) if (1..=64).contains(&number) => number,
        Ok(_) => return Err(invalid()),
        Err(_) => {
            NAMES.iter().find(|(known, _)| *known == name).map(|(_, n)| *n).ok_or_else(invalid)?
        }
    };
    Ok(match number {
        9 => Action::Kill,
        2 => Action::Event(ControlEvent::CtrlC),
        3 => Action::Event(ControlEvent::CtrlBreak),
        17 | 18 | 20..=23 | 28 => Action::Ignored(number),
        _ => Action::Event(ControlEvent::Shutdown),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_mean_the_same() {
        for signal in ["KILL", "SIGKILL", "sigkill", "9"] {
            assert_eq!(action(signal).unwrap(), Action::Kill, "{signal}");
        }
        assert_eq!(action("SIGINT").unwrap(), Action::Event(ControlEvent::CtrlC));
        assert_eq!(action("3").unwrap(), Action::Event(ControlEvent::CtrlBreak));
        assert_eq!(action("TERM").unwrap(), Action::Event(ControlEvent::Shutdown));
    }

    #[test]
    fn what_no_program_ends_of_is_ignored() {
        for signal in ["WINCH", "SIGCHLD", "CONT", "TSTP", "TTIN", "TTOU", "URG"] {
            assert!(matches!(action(signal).unwrap(), Action::Ignored(_)), "{signal}");
        }
        assert_eq!(action("HUP").unwrap(), Action::Event(ControlEvent::Shutdown));
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for signal in ["", "0", "65", "SIGFOO", "-9"] {
            let error = action(signal).unwrap_err().to_string();
            assert_eq!(error, format!("invalid signal: {signal}"));
        }
    }
}
