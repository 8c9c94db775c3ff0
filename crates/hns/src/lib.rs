//! Networks: bridge, endpoints, published ports, names.
