//! Time and identity, given to the engine from outside so that tests can say what they are.

use crate::Time;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Time;
}

/// Makes identifiers.
pub trait IdSource: Send + Sync {
    /// 64 hexadecimal digits that have not been used before.
    fn id(&self) -> String;

    /// A number below `bound`, for picking a name.
    fn pick(&self, bound: usize) -> usize;
}
