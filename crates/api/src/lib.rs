//! Types of the Docker Engine API as Oriel speaks it.
