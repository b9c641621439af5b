// Package text writes reports for people: the tables and sentences that the
// commands print. It escapes what programs and users have named.
package text
