// Checks histories of Bolthole's clients for linearizability: reads JSON lines from standard input, prints one JSON
// object, and draws what is not linearizable into the folder that its argument names.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/anishathalye/porcupine"
)

// Verdict is what the checker says of all histories.
type Verdict struct {
	Partitions int      `json:"partitions"`
	Operations int      `json:"operations"`
	Open       int      `json:"open"`
	Illegal    []string `json:"illegal"`
	// Undecided are partitions whose check took too long.
	Undecided []string `json:"undecided"`
}

func main() {
	timeout := flag.Duration("timeout", time.Minute, "for each partition")
	folder := flag.String("folder", "", "where drawings of illegal histories go")
	flag.Parse()
	histories, err := ReadHistories(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	verdict := Verdict{Illegal: []string{}, Undecided: []string{}}
	for _, history := range histories {
		verdict.add(history, *timeout, *folder)
	}
	if err := json.NewEncoder(os.Stdout).Encode(verdict); err != nil {
		os.Exit(1)
	}
}

func (verdict *Verdict) add(history *History, timeout time.Duration, folder string) {
	verdict.Partitions++
	verdict.Operations += len(history.Lines)
	for _, line := range history.Lines {
		if line.Return == nil {
			verdict.Open++
		}
	}
	if err := history.LearnVersions(); err != nil {
		verdict.Illegal = append(verdict.Illegal, fmt.Sprintf("%s: %v", history.Name, err))
		return
	}
	model := ModelOf(history.Init)
	switch porcupine.CheckOperationsTimeout(model, history.Operations(), timeout) {
	case porcupine.Ok:
	case porcupine.Unknown:
		verdict.Undecided = append(verdict.Undecided, history.Name)
	case porcupine.Illegal:
		verdict.Illegal = append(verdict.Illegal, history.Name+": "+draw(model, history, timeout, folder))
	}
}

// draw answers where the drawing is.
func draw(model porcupine.Model, history *History, timeout time.Duration, folder string) string {
	if folder == "" {
		return "no order of its operations explains every answer"
	}
	_, info := porcupine.CheckOperationsVerbose(model, history.Operations(), timeout)
	file := filepath.Join(folder, fmt.Sprintf("illegal-%x.html", history.Name))
	if err := porcupine.VisualizePath(model, info, file); err != nil {
		return "no order of its operations explains every answer, and it cannot be drawn: " + err.Error()
	}
	return "no order of its operations explains every answer; see " + file
}
