// Package view decodes the Report that an agent serves, as far as programs on other
// machines show it. It links no code of Linux, and reads the reports of older and
// newer agents: a field that is not there keeps its zero value.
package view
