//! Process isolation: a compute system made of Linux namespaces.
