//! The NT personality and the base images, built from Debian packages.
