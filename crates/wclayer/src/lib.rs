//! Windows container layer tars: reader and writer.
