//! What the exit codes of Windows programs mean.
//!
//! An exit code has 32 bits. The kernel ends a program that fails with an `NTSTATUS`, runtimes end
//! theirs with the code of an exception or an `HRESULT`, and some programs are known for codes of
//! their own. The table has those that people meet in containers.

/// Wine and Windows end a program with this when a DLL it is linked to is not found
/// (`STATUS_DLL_NOT_FOUND`, `[MS-ERREF]` 2.3.1).
pub const DLL_NOT_FOUND: u32 = 0xC000_0135;

/// A well-known way in which programs end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitMeaning {
    /// What Windows' headers call it.
    pub name: &'static str,
    /// What it means, as the end of a sentence.
    pub meaning: &'static str,
}

/// What an exit code is known for; `None` for one that is the program's own.
#[must_use]
pub fn exit_meaning(code: u32) -> Option<ExitMeaning> {
    let (_, name, meaning) = *TABLE.iter().find(|(known, ..)| *known == code)?;
    Some(ExitMeaning { name, meaning })
}

/// Sources, by range: 0x4…, 0x8000…, 0xC… `NTSTATUS` in `[MS-ERREF]` 2.3.1; 0x8007… `HRESULT` of a
/// Win32 code, 2.1.2 there; 1600 to 1654, 3010 Win32 codes, 2.2 there, as msiexec.exe returns them
/// (Windows Installer SDK, "`MsiExec.exe` and `InstMsi.exe` Error Messages"); 9009 message
/// `MSG_DIR_BAD_COMMAND_OR_FILE` of cmd.exe; `0xE0434352` the .NET runtime's (`EXCEPTION_COMPLUS`,
/// `corexcep.h`), `0xE06D7363` Visual C++'s (`EH_EXCEPTION_NUMBER`, `ehdata.h`).
const TABLE: &[(u32, &str, &str)] = &[
    (1602, "ERROR_INSTALL_USEREXIT", "the installation was cancelled"),
    (1603, "ERROR_INSTALL_FAILURE", "the installer failed; its log says why (msiexec /l*v FILE)"),
    (1605, "ERROR_UNKNOWN_PRODUCT", "the product is not installed"),
    (1612, "ERROR_INSTALL_SOURCE_ABSENT", "the installation's source is not there"),
    (1618, "ERROR_INSTALL_ALREADY_RUNNING", "another installation is under way"),
    (1619, "ERROR_INSTALL_PACKAGE_OPEN_FAILED", "the package cannot be opened"),
    (1620, "ERROR_INSTALL_PACKAGE_INVALID", "the file is no package of Windows Installer"),
    (1633, "ERROR_INSTALL_PLATFORM_UNSUPPORTED", "the package is for another processor"),
    (1638, "ERROR_PRODUCT_VERSION", "another version of the product is installed"),
    (1639, "ERROR_INVALID_COMMAND_LINE", "the installer's arguments are wrong"),
    (1641, "ERROR_SUCCESS_REBOOT_INITIATED", "it is installed, and Windows was to restart"),
    (1654, "ERROR_INSTALL_REJECTED", "the installation was refused"),
    (3010, "ERROR_SUCCESS_REBOOT_REQUIRED", "it is installed, once Windows restarts"),
    (9009, "MSG_DIR_BAD_COMMAND_OR_FILE", "cmd knows no command of that name; see PATH"),
    (0x4000_0015, "STATUS_FATAL_APP_EXIT", "the program gave up"),
    (0x4001_0004, "DBG_TERMINATE_PROCESS", "a debugger ended the program"),
    (0x8000_0003, "STATUS_BREAKPOINT", "the program stopped at a breakpoint"),
    (0x8007_0002, "ERROR_FILE_NOT_FOUND", "a file is not there"),
    (0x8007_0003, "ERROR_PATH_NOT_FOUND", "a directory is not there"),
    (0x8007_0005, "E_ACCESSDENIED", "something was denied to the program"),
    (0x8007_000E, "E_OUTOFMEMORY", "there was not enough memory"),
    (0x8007_0057, "E_INVALIDARG", "an argument is wrong"),
    (0x8007_007E, "ERROR_MOD_NOT_FOUND", "a DLL was not found"),
    (0xC000_0005, "STATUS_ACCESS_VIOLATION", "the program used memory that is not its own"),
    (0xC000_0008, "STATUS_INVALID_HANDLE", "the program used a handle that it does not have"),
    (0xC000_0017, "STATUS_NO_MEMORY", "there was not enough memory"),
    (0xC000_001D, "STATUS_ILLEGAL_INSTRUCTION", "the processor does not know an instruction"),
    (0xC000_0022, "STATUS_ACCESS_DENIED", "something was denied to the program"),
    (0xC000_0025, "STATUS_NONCONTINUABLE_EXCEPTION", "the program went on after a fatal exception"),
    (0xC000_007B, "STATUS_INVALID_IMAGE_FORMAT", "a file is no program for this architecture"),
    (0xC000_0094, "STATUS_INTEGER_DIVIDE_BY_ZERO", "the program divided by zero"),
    (0xC000_0096, "STATUS_PRIVILEGED_INSTRUCTION", "the program used the kernel's instructions"),
    (0xC000_00FD, "STATUS_STACK_OVERFLOW", "the program used up its stack"),
    (0xC000_012D, "STATUS_COMMITMENT_LIMIT", "there was not enough memory"),
    (DLL_NOT_FOUND, "STATUS_DLL_NOT_FOUND", "a DLL was not found"),
    (0xC000_0138, "STATUS_ORDINAL_NOT_FOUND", "a DLL lacks a function that the program needs"),
    (0xC000_0139, "STATUS_ENTRYPOINT_NOT_FOUND", "a DLL lacks a function that the program needs"),
    (0xC000_013A, "STATUS_CONTROL_C_EXIT", "the program was stopped by Ctrl+C or a stop"),
    (0xC000_0142, "STATUS_DLL_INIT_FAILED", "a DLL that the program needs did not start"),
    (0xC000_0374, "STATUS_HEAP_CORRUPTION", "the program damaged its own memory"),
    (0xC000_0409, "STATUS_STACK_BUFFER_OVERRUN", "the program found itself damaged and gave up"),
    (0xC000_0417, "STATUS_INVALID_CRUNTIME_PARAMETER", "the program misused its C library"),
    (0xC000_041D, "STATUS_FATAL_USER_CALLBACK_EXCEPTION", "a callback of the program failed"),
    (0xC000_0602, "STATUS_FAIL_FAST_EXCEPTION", "the program gave up"),
    (0xE043_4352, "CLR exception", "a .NET program did not handle an exception"),
    (0xE06D_7363, "C++ exception", "a C++ program did not handle an exception"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_people_meet_have_a_meaning() {
        assert_eq!(exit_meaning(DLL_NOT_FOUND).unwrap().name, "STATUS_DLL_NOT_FOUND");
        assert!(exit_meaning(9009).unwrap().meaning.contains("PATH"));
        for own in [0, 1, 2, 255, 1000] {
            assert_eq!(exit_meaning(own), None, "{own}");
        }
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0), "a code stands twice or out of order");
    }
}
