//! Registry hives: regf reader and writer, layered merge, diff, Wine text form.
