// Checks histories of clients for linearizability. It reads JSON lines from standard input, prints one JSON object, and
// draws histories that are not linearizable into the given folder.
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

// Verdict is the result for all histories.
type Verdict struct {
	Partitions int      `json:"partitions"`
	Operations int      `json:"operations"`
	Open       int      `json:"open"`
	Illegal    []string `json:"illegal"`
	// Undecided are the partitions whose check exceeded the time limit.
	Undecided []string `json:"undecided"`
}

func main() {
	timeout := flag.Duration("timeout", time.Minute, "time limit for each partition")
	folder := flag.String("folder", "", "folder for drawings of illegal histories")
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

// draw draws a history and returns a text that names the drawing.
func draw(model porcupine.Model, history *History, timeout time.Duration, folder string) string {
	if folder == "" {
		return "no order of its operations explains every response"
	}
	_, info := porcupine.CheckOperationsVerbose(model, history.Operations(), timeout)
	file := filepath.Join(folder, fmt.Sprintf("illegal-%x.html", history.Name))
	if err := porcupine.VisualizePath(model, info, file); err != nil {
		return "no order of its operations explains every response, and it cannot be drawn: " + err.Error()
	}
	return "no order of its operations explains every response; see " + file
}
