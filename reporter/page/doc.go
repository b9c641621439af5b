// Package page makes the node's page: a Status, which one pure function computes
// from the Snapshot, the acts and the conditions, and the HTML that a template
// renders from that Status alone.
//
// It reads nothing and starts no pass. Each list has a bound and the number of
// rows that were left out, and HTML has at most 60 kB. Names that others choose
// are escaped for the eye (safetext) and for HTML (html/template). A command to
// paste has a name only where a shell takes it as one plain word.
package page
