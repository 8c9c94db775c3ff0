//! Black-box tests of any Docker endpoint.
