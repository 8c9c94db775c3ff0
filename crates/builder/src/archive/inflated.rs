//! Compressed archives that hold more than they can be meant to.

use std::{
    cell::Cell,
    io::{self, BufReader, Read},
    rc::Rc,
};

/// What every archive may hold, however small it is.
const ALWAYS: u64 = 256 << 20;

/// How many times its own length an archive may hold beyond that. Text shrinks to a tenth; bombs
/// of gzip reach a thousand, those of zstd much more.
const TIMES: u64 = 100;

/// Counts what is read.
pub(super) struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Counted<R> {
    /// A reader with room in front, and its count.
    pub(super) fn new(inner: R) -> (BufReader<Self>, Rc<Cell<u64>>) {
        let count = Rc::default();
        (BufReader::new(Self { inner, count: Rc::clone(&count) }), count)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}

/// What comes out of a compressed archive, in proportion to what goes in.
pub(super) struct Inflated<R> {
    inner: R,
    read: Rc<Cell<u64>>,
    given: u64,
}

impl<R: Read> Inflated<R> {
    /// What `inner` makes of what is counted in `read`.
    pub(super) fn new(inner: R, read: Rc<Cell<u64>>) -> Self {
        Self { inner, read, given: 0 }
    }
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.given += count as u64;
        if self.given > ALWAYS + TIMES * self.read.get() {
            let text = format!("it grows to more than {TIMES} times its length, as bombs do");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(count)
    }
}
