// Package nodestatus names what nodetune writes into a Node, and reads from a Node
// which of its conditions nodetune wrote. It links no code of Linux, so that
// programs for other systems can use it.
package nodestatus
