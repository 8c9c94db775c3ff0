//! Images: content store, windowsfilter layers, references, save and load.
