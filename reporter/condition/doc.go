// Package condition turns a Snapshot into node conditions, with hysteresis. It
// is pure: it reads no clock, no file and no API server.
//
// Evaluate rates one pass for each condition, Update adds that to the
// passes before it, and the table Reasons has every reason with its meaning.
package condition
