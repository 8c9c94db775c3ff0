//! Registry keys.
//!
//! What the host asks for goes through the system calls themselves: the Win32 functions take names
//! that end at a NUL and add one to the text of a value, and the host means what it says.

use std::fs::File;
use std::os::windows::io::AsRawHandle;

use windows_sys::Win32::Foundation::{HANDLE, STATUS_OBJECT_NAME_NOT_FOUND, UNICODE_STRING};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE, HKEY_USERS, KEY_ALL_ACCESS, KEY_READ, REG_DWORD,
    REG_EXPAND_SZ, REG_OPTION_VOLATILE, REG_SZ,
};

use super::object::{self, Name, ObjectAttributes};
use super::{Win32Error, wide};
use crate::environment::Setting;

#[link(name = "kernelbase", kind = "raw-dylib")]
unsafe extern "system" {
    fn RegOpenKeyExW(
        root: HKEY,
        path: *const u16,
        options: u32,
        access: u32,
        key: *mut HKEY,
    ) -> u32;
    fn RegCreateKeyExW(
        root: HKEY,
        path: *const u16,
        reserved: u32,
        class: *const u16,
        options: u32,
        access: u32,
        attributes: *const core::ffi::c_void,
        key: *mut HKEY,
        disposition: *mut u32,
    ) -> u32;
    fn RegEnumValueW(
        key: HKEY,
        index: u32,
        name: *mut u16,
        name_length: *mut u32,
        reserved: *const u32,
        kind: *mut u32,
        data: *mut u8,
        data_length: *mut u32,
    ) -> u32;
    fn RegSetValueExW(
        key: HKEY,
        name: *const u16,
        reserved: u32,
        kind: u32,
        data: *const u8,
        length: u32,
    ) -> u32;
    fn RegEnumKeyExW(
        key: HKEY,
        index: u32,
        name: *mut u16,
        name_length: *mut u32,
        reserved: *const u32,
        class: *mut u16,
        class_length: *mut u32,
        written: *mut u64,
    ) -> u32;
    fn RegDeleteTreeW(key: HKEY, path: *const u16) -> u32;
    fn RegCloseKey(key: HKEY) -> u32;
}

#[link(name = "ntdll", kind = "raw-dylib")]
unsafe extern "system" {
    fn NtCreateKey(
        key: *mut HKEY,
        access: u32,
        attributes: *const ObjectAttributes,
        index: u32,
        class: *const UNICODE_STRING,
        options: u32,
        disposition: *mut u32,
    ) -> i32;
    fn NtOpenKey(key: *mut HKEY, access: u32, attributes: *const ObjectAttributes) -> i32;
    fn NtDeleteKey(key: HKEY) -> i32;
    fn NtSetValueKey(
        key: HKEY,
        name: *const UNICODE_STRING,
        index: u32,
        kind: u32,
        data: *const u8,
        length: u32,
    ) -> i32;
    fn NtDeleteValueKey(key: HKEY, name: *const UNICODE_STRING) -> i32;
    fn NtSaveKey(key: HKEY, file: HANDLE) -> i32;
    fn RtlAdjustPrivilege(privilege: u32, enable: u8, thread: u8, before: *mut u8) -> i32;
    fn RtlOpenCurrentUser(access: u32, key: *mut HKEY) -> i32;
    fn RtlNtStatusToDosError(status: i32) -> u32;
}

/// `SE_BACKUP_PRIVILEGE`: reading keys whatever their access control lists say.
const BACKUP_PRIVILEGE: u32 = 17;

/// Bytes of the longest value data read: Windows' own limit for a variable is 32 767 characters.
const MAX_DATA: usize = 64 << 10;

/// Characters of the longest value name read (Windows' limit is 16 383).
const MAX_NAME: usize = 16_384;

/// The hive a key is in.
#[derive(Clone, Copy)]
pub(crate) enum Root {
    /// `HKEY_LOCAL_MACHINE`.
    Machine,
    /// `HKEY_USERS\.Default`.
    Default,
    /// `HKEY_CURRENT_USER`.
    User,
}

/// Lets this process save keys.
pub(crate) fn allow_saving() -> Result<(), Win32Error> {
    let mut before = 0;
    // SAFETY: the out pointer is valid.
    win32(unsafe { RtlAdjustPrivilege(BACKUP_PRIVILEGE, 1, 0, &raw mut before) })
}

/// An open key.
pub(crate) struct Key(HKEY);

impl Key {
    /// Opens a key for reading; `None` when it does not exist.
    pub(crate) fn open(root: Root, path: &str) -> Option<Self> {
        let path = wide(path);
        let mut key = std::ptr::null_mut();
        // SAFETY: the path ends with a NUL and the out pointer is valid.
        let status = unsafe { RegOpenKeyExW(root.key(), path.as_ptr(), 0, KEY_READ, &raw mut key) };
        (status == 0).then_some(Self(key))
    }

    /// Opens or makes a key that is gone when the silo ends.
    pub(crate) fn create_volatile(root: Root, path: &str) -> Result<Self, Win32Error> {
        let path = wide(path);
        let mut key = std::ptr::null_mut();
        // SAFETY: the path ends with a NUL, the out pointer is valid, the rest is absent.
        let status = unsafe {
            RegCreateKeyExW(
                root.key(),
                path.as_ptr(),
                0,
                std::ptr::null(),
                REG_OPTION_VOLATILE,
                KEY_ALL_ACCESS,
                std::ptr::null(),
                &raw mut key,
                std::ptr::null_mut(),
            )
        };
        if status == 0 { Ok(Self(key)) } else { Err(Win32Error(status)) }
    }

    /// Opens the root of a tree for everything. `RegOpenKeyExW` would answer with the name of the
    /// root again, which the system calls do not know.
    pub(crate) fn root(root: Root) -> Result<Self, Win32Error> {
        let mut key = std::ptr::null_mut();
        let mut name = match root {
            Root::Machine => Name::new("\\Registry\\Machine"),
            Root::Default => Name::new("\\Registry\\User\\.Default"),
            Root::User => {
                // SAFETY: the out pointer is valid.
                let status = unsafe { RtlOpenCurrentUser(KEY_ALL_ACCESS, &raw mut key) };
                return win32(status).map(|()| Self(key));
            }
        };
        let name = name.string();
        let attributes = object::attributes(&name, object::CASE_INSENSITIVE);
        // SAFETY: all pointers are to live values of the right layout.
        let status = unsafe { NtOpenKey(&raw mut key, KEY_ALL_ACCESS, &raw const attributes) };
        win32(status).map(|()| Self(key))
    }

    /// Opens a key directly below, and follows a link there; `None` when there is none.
    pub(crate) fn child(&self, name: &[u16]) -> Result<Option<Self>, Win32Error> {
        let mut name = Name::exact(name);
        let name = name.string();
        let attributes = self.below(&name);
        let mut key = std::ptr::null_mut();
        // SAFETY: all pointers are to live values of the right layout.
        match unsafe { NtOpenKey(&raw mut key, KEY_ALL_ACCESS, &raw const attributes) } {
            STATUS_OBJECT_NAME_NOT_FOUND => Ok(None),
            status => win32(status).map(|()| Some(Self(key))),
        }
    }

    /// Opens or makes a key directly below, and follows a link there.
    pub(crate) fn create_child(&self, name: &[u16]) -> Result<Self, Win32Error> {
        let mut name = Name::exact(name);
        let name = name.string();
        let attributes = self.below(&name);
        let mut key = std::ptr::null_mut();
        // SAFETY: all pointers are to live values of the right layout; the rest is absent.
        let status = unsafe {
            NtCreateKey(
                &raw mut key,
                KEY_ALL_ACCESS,
                &raw const attributes,
                0,
                std::ptr::null(),
                0,
                std::ptr::null_mut(),
            )
        };
        win32(status).map(|()| Self(key))
    }

    fn below(&self, name: &UNICODE_STRING) -> ObjectAttributes {
        let mut attributes = object::attributes(name, object::CASE_INSENSITIVE);
        attributes.root = self.0;
        attributes
    }

    /// Opens the first key directly below, a link as what it is; `None` when there is none.
    fn first_child(&self) -> Result<Option<Self>, Win32Error> {
        /// `ERROR_NO_MORE_ITEMS`.
        const NO_MORE: u32 = 259;

        let mut name = [0_u16; 256];
        let mut length = 256;
        let (none, nothing) = (std::ptr::null_mut(), std::ptr::null());
        // SAFETY: the buffer has the length passed, which the call updates; the rest is absent.
        let status = unsafe {
            RegEnumKeyExW(
                self.0,
                0,
                name.as_mut_ptr(),
                &raw mut length,
                nothing,
                none,
                none.cast(),
                none.cast(),
            )
        };
        match status {
            0 => {}
            NO_MORE => return Ok(None),
            error => return Err(Win32Error(error)),
        }
        let mut name = Name::exact(&name[..index_of(length, 256)]);
        let name = name.string();
        let mut attributes =
            object::attributes(&name, object::CASE_INSENSITIVE | object::OPEN_LINK);
        attributes.root = self.0;
        let mut key = std::ptr::null_mut();
        // SAFETY: all pointers are to live values of the right layout.
        let status = unsafe { NtOpenKey(&raw mut key, KEY_ALL_ACCESS, &raw const attributes) };
        win32(status).map(|()| Some(Self(key)))
    }

    /// Removes all keys and values in it. What a link there leads to stays: `RegDeleteTreeW` goes
    /// through links, and then gives up at a link that leads nowhere.
    pub(crate) fn empty(&self) -> Result<(), Win32Error> {
        let mut way: Vec<Self> = Vec::new();
        loop {
            match way.last().unwrap_or(self).first_child()? {
                Some(child) => way.push(child),
                None => match way.pop() {
                    Some(childless) => childless.delete()?,
                    None => break,
                },
            }
        }
        // SAFETY: the key is open; without a path the call keeps the key itself.
        let status = unsafe { RegDeleteTreeW(self.0, std::ptr::null()) };
        if status == 0 { Ok(()) } else { Err(Win32Error(status)) }
    }

    /// Removes the key, which has none below.
    pub(crate) fn delete(self) -> Result<(), Win32Error> {
        // SAFETY: the key is open.
        win32(unsafe { NtDeleteKey(self.0) })
    }

    /// Sets a value to exactly these bytes.
    pub(crate) fn set_exact(&self, name: &[u16], kind: u32, data: &[u8]) -> Result<(), Win32Error> {
        let mut name = Name::exact(name);
        let name = name.string();
        let length = size_u32(data.len());
        // SAFETY: the name lives until the call returns, the data has the length passed.
        win32(unsafe { NtSetValueKey(self.0, &raw const name, 0, kind, data.as_ptr(), length) })
    }

    /// Removes a value; there being none is no error.
    pub(crate) fn delete_value(&self, name: &[u16]) -> Result<(), Win32Error> {
        let mut name = Name::exact(name);
        let name = name.string();
        // SAFETY: the name lives until the call returns.
        match unsafe { NtDeleteValueKey(self.0, &raw const name) } {
            STATUS_OBJECT_NAME_NOT_FOUND => Ok(()),
            status => win32(status),
        }
    }

    /// Writes the key and all below to a file, as the personality keeps registries; volatile keys
    /// are left out. The registry does not change meanwhile.
    pub(crate) fn save(&self, file: &File) -> Result<(), Win32Error> {
        // SAFETY: key and file are open.
        win32(unsafe { NtSaveKey(self.0, file.as_raw_handle()) })
    }

    /// The key's string values, in the order of the registry.
    pub(crate) fn texts(&self) -> Vec<Setting> {
        let mut texts = Vec::new();
        let mut name = vec![0_u16; MAX_NAME];
        let mut data = vec![0_u8; MAX_DATA];
        for index in 0.. {
            let mut name_length = size_u32(MAX_NAME);
            let mut data_length = size_u32(MAX_DATA);
            let mut kind = 0;
            // SAFETY: both buffers have the lengths passed, which the call updates.
            let status = unsafe {
                RegEnumValueW(
                    self.0,
                    index,
                    name.as_mut_ptr(),
                    &raw mut name_length,
                    std::ptr::null(),
                    &raw mut kind,
                    data.as_mut_ptr(),
                    &raw mut data_length,
                )
            };
            match status {
                0 => {}
                // ERROR_MORE_DATA: longer than a variable can be; passed over.
                234 => continue,
                _ => break,
            }
            if kind == REG_SZ || kind == REG_EXPAND_SZ {
                texts.push(Setting {
                    name: String::from_utf16_lossy(&name[..index_of(name_length, MAX_NAME)]),
                    text: text_of(&data[..index_of(data_length, MAX_DATA)]),
                    expand: kind == REG_EXPAND_SZ,
                });
            }
        }
        texts
    }

    /// Sets a string value.
    pub(crate) fn set_text(&self, name: &str, text: &str) -> Result<(), Win32Error> {
        self.set(name, REG_SZ, &data_of(text))
    }

    /// Sets a string value in which those who read it expand variables.
    pub(crate) fn set_expanding(&self, name: &str, text: &str) -> Result<(), Win32Error> {
        self.set(name, REG_EXPAND_SZ, &data_of(text))
    }

    /// Sets a 32-bit value.
    pub(crate) fn set_number(&self, name: &str, number: u32) -> Result<(), Win32Error> {
        self.set(name, REG_DWORD, &number.to_le_bytes())
    }

    fn set(&self, name: &str, kind: u32, data: &[u8]) -> Result<(), Win32Error> {
        let name = wide(name);
        let length = size_u32(data.len());
        // SAFETY: the name ends with a NUL, the data has the length passed.
        let status =
            unsafe { RegSetValueExW(self.0, name.as_ptr(), 0, kind, data.as_ptr(), length) };
        if status == 0 { Ok(()) } else { Err(Win32Error(status)) }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the key was opened by this type and is closed once.
        unsafe { RegCloseKey(self.0) };
    }
}

impl Root {
    fn key(self) -> HKEY {
        match self {
            Self::Machine => HKEY_LOCAL_MACHINE,
            Self::Default => HKEY_USERS,
            Self::User => HKEY_CURRENT_USER,
        }
    }
}

/// A status as a Win32 error, for those who are told of it.
fn win32(status: i32) -> Result<(), Win32Error> {
    // SAFETY: looks a number up.
    if status < 0 { Err(Win32Error(unsafe { RtlNtStatusToDosError(status) })) } else { Ok(()) }
}

fn data_of(text: &str) -> Vec<u8> {
    wide(text).iter().flat_map(|unit| unit.to_le_bytes()).collect()
}

fn text_of(data: &[u8]) -> String {
    let units: Vec<u16> =
        data.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned()
}

fn index_of(length: u32, limit: usize) -> usize {
    usize::try_from(length).map_or(limit, |length| length.min(limit))
}

fn size_u32(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
