// Package web serves metrics, probes and the report over HTTP within fixed limits.
//
// It keeps at most 64 connections and answers few requests of each path at once,
// so that its memory does not depend on the number of clients. Probes need no
// password, no client certificate and no TLS. The report names the processes and
// files of every tenant of the node: it is closed to other machines unless the
// configuration opens it.
package web
