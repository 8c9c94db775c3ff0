//! `setx`: variables of the processes that start from now on.
//!
//! Dockerfiles put programs into the search path by `RUN setx /M PATH "%PATH%;C:\..."`; the
//! personality's own `setx` says nothing and does nothing. `cexecsvc.exe` therefore also stands
//! where `setx.exe` does, and knows by that name what it is asked to be.

/// Characters that `setx` keeps of a value.
const LONGEST: usize = 1024;

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Order {
    /// The variable.
    pub name: String,
    /// What it is set to.
    pub value: String,
    /// Whether it is one of the machine; else it is one of the account.
    pub machine: bool,
}

impl Order {
    /// Reads `NAME VALUE [/M]`; `None` when it is something else.
    #[must_use]
    pub fn parse(arguments: &[String]) -> Option<Self> {
        let switch =
            |argument: &&String| ["/m", "-m"].iter().any(|m| argument.eq_ignore_ascii_case(m));
        let (switches, words): (Vec<&String>, Vec<&String>) =
            arguments.iter().partition(|argument| switch(argument));
        let [name, value] = words[..] else { return None };
        let good = !name.is_empty() && !name.starts_with('/') && !name.contains('=');
        good.then(|| Self {
            name: name.clone(),
            value: value.clone(),
            machine: !switches.is_empty(),
        })
    }

    /// The value as far as it is kept, and whether that is all of it.
    #[must_use]
    pub fn kept(&self) -> (&str, bool) {
        match self.value.char_indices().nth(LONGEST) {
            Some((end, _)) => (&self.value[..end], false),
            None => (&self.value, true),
        }
    }
}

#[cfg(windows)]
pub(crate) use windows::run;

#[cfg(windows)]
mod windows {
    use std::io::{self, Write as _};
    use std::process::ExitCode;

    use super::Order;
    use crate::account::MACHINE_VARIABLES;
    use crate::message::ACCESS_DENIED;
    use crate::nt::registry::{Key, Root};
    use crate::nt::{Win32Error, system};

    /// Does what `setx` would, if this program was started by that name.
    pub(crate) fn run(arguments: &[String]) -> Option<ExitCode> {
        let program = std::env::current_exe().ok()?;
        let named = program.file_stem().is_some_and(|name| name.eq_ignore_ascii_case("setx"));
        named.then(|| set(arguments))
    }

    fn set(arguments: &[String]) -> ExitCode {
        let Some(order) = Order::parse(arguments) else {
            return fail("Invalid syntax.\r\nType \"SETX /?\" for usage.");
        };
        let (value, whole) = order.kept();
        match store(&order, value) {
            Ok(()) if whole => {}
            Ok(()) => say("\r\nWARNING: The data being saved is truncated to 1024 characters.\r\n"),
            Err(Win32Error(ACCESS_DENIED)) => {
                return fail("Access to the registry path is denied.");
            }
            Err(Win32Error(code)) => return fail(&system::message(code)),
        }
        say("\r\nSUCCESS: Specified value was saved.\r\n");
        ExitCode::SUCCESS
    }

    fn store(order: &Order, value: &str) -> Result<(), Win32Error> {
        let (root, path) = if order.machine {
            (Root::Machine, MACHINE_VARIABLES)
        } else {
            (Root::User, "Environment")
        };
        let key = path.split('\\').try_fold(Key::root(root)?, |key, name| {
            key.create_child(&name.encode_utf16().collect::<Vec<u16>>())
        })?;
        // As the real one: a text with variables in it is one to expand.
        let expands = value.contains('%');
        if expands {
            key.set_expanding(&order.name, value)
        } else {
            key.set_text(&order.name, value)
        }
    }

    fn say(text: &str) {
        // Nobody may be listening.
        let _ = io::stdout().write_all(text.as_bytes());
    }

    fn fail(reason: &str) -> ExitCode {
        let _ = io::stderr().write_all(format!("ERROR: {reason}\r\n").as_bytes());
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Order};

    fn parse(arguments: &[&str]) -> Option<(String, String, bool)> {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        Order::parse(&arguments).map(|order| (order.name, order.value, order.machine))
    }

    #[test]
    fn a_variable_is_set_for_the_account_or_for_the_machine() {
        let of = |machine| Some(("PATH".to_owned(), "C:\\a b;C:\\c".to_owned(), machine));
        assert_eq!(parse(&["PATH", "C:\\a b;C:\\c"]), of(false));
        assert_eq!(parse(&["/M", "PATH", "C:\\a b;C:\\c"]), of(true));
        assert_eq!(parse(&["PATH", "C:\\a b;C:\\c", "-m"]), of(true));
        assert_eq!(parse(&["V", ""]), Some(("V".to_owned(), String::new(), false)));
    }

    #[test]
    fn what_is_no_variable_and_value_is_refused() {
        for arguments in [&[][..], &["/?"], &["V"], &["V", "a", "b"], &["/K", "x"], &["a=b", "c"]] {
            assert_eq!(parse(arguments), None, "{arguments:?}");
        }
    }

    #[test]
    fn a_value_is_kept_up_to_its_limit() {
        let order = |length: usize| Order {
            name: "V".to_owned(),
            value: "\u{e4}".repeat(length),
            machine: false,
        };
        assert!(order(LONGEST).kept().1);
        let long = order(LONGEST + 1);
        let (kept, whole) = long.kept();
        assert_eq!((kept.chars().count(), whole), (LONGEST, false));
    }
}
