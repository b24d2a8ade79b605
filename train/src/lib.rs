//! From a model to a program: graphs, differentiation, optimisers, data.
