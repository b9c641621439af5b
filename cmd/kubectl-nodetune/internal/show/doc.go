// Package show writes reports of agents as tables. What a report holds was chosen by
// pods, so each text passes through internal/safetext.
package show
