//! Containers, execs, images and builds: the engine behind the API.
