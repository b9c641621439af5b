// Package diagnosis explains the limits of one process and the values of a
// sysctl: the documents of `nodetune why` and `nodetune explain`. It is pure.
package diagnosis
