//! Unix sockets: their names, their listeners, and their makers.

mod listeners;
mod maker;
mod name;
mod receivers;

pub(crate) use self::{
    listeners::{find, find_receiver, remember},
    maker::maker,
    name::{Name, Root},
    receivers::remember_receiver,
};
