//! What Bastide promises, tried on the real binary, a real PostgreSQL, real
//! sockets. Each test has a site, ports and folders of its own.

mod shop;
