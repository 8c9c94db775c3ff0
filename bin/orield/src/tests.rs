//! The routes on fakes, through a real socket.
