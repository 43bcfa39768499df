package main

import (
	"strings"
	"testing"
	"time"
)

func verdictOf(t *testing.T, lines ...string) Verdict {
	t.Helper()
	histories, err := ReadHistories(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	verdict := Verdict{}
	for _, history := range histories {
		verdict.add(history, time.Minute, "")
	}
	return verdict
}

const (
	writeA       = `{"partition":"r","client":1,"call":1,"return":2,"kind":"write","sets":{"ops":"a"},"result":"ok","version":"e.1"}`
	writeB       = `{"partition":"r","client":1,"call":3,"return":4,"kind":"write","sets":{"ops":"b"},"result":"ok","version":"e.2"}`
	lateA        = `{"partition":"r","client":2,"call":5,"return":6,"kind":"read","record":"ops","seen":{"digest":"a","version":"e.1"}}`
	lateB        = `{"partition":"r","client":2,"call":5,"return":6,"kind":"read","record":"ops","seen":{"digest":"b","version":"e.2"}}`
	between      = `{"partition":"r","client":2,"call":3,"return":6,"kind":"read","record":"ops","seen":{"digest":"a","version":"e.1"}}`
	openB        = `{"partition":"r","client":1,"call":3,"kind":"write","sets":{"ops":"b"}}`
	lifecycle1   = `{"partition":"r","client":1,"call":1,"return":2,"kind":"write","sets":{"lifecycle":"l1"},"newFence":"1","result":"ok","version":"e.1"}`
	lifecycle2   = `{"partition":"r","client":1,"call":3,"return":4,"kind":"write","sets":{"lifecycle":"l2"},"newFence":"2","result":"ok","version":"e.2"}`
	oldFence     = `{"partition":"r","client":2,"call":5,"return":6,"kind":"write","sets":{"ops":"x"},"fence":"1","result":"RESULT","version":"e.3"}`
	receipt      = `{"partition":"r","client":CLIENT,"call":1,"return":9,"kind":"write","sets":{"receipt 1":"CLIENT"},"inserts":["receipt 1"],"result":"RESULT","version":"e.CLIENT"}`
	oauthInit    = `{"partition":"oauth","kind":"init","record":"oauth","seen":{"digest":"o","version":"e.0"}}`
	oauth        = `{"partition":"oauth","client":CLIENT,"call":1,"return":9,"kind":"write","sets":{"oauth":"CLIENT"},"ifCurrent":{"record":"oauth","version":"e.0"},"result":"RESULT","version":"e.CLIENT"}`
	boundary     = `{"partition":"r","client":1,"call":1,"return":9,"kind":"write","sets":{"snapshot":"s","input 1":"i","receipt 1":"q"},"inserts":["receipt 1"],"result":"ok","version":"e.1"}`
	withSnapshot = `{"partition":"r","client":2,"call":2,"return":3,"kind":"read","record":"snapshot","seen":{"digest":"s","version":"e.1"}}`
	withoutInput = `{"partition":"r","client":2,"call":4,"return":5,"kind":"list","rows":{}}`
	withInput    = `{"partition":"r","client":2,"call":4,"return":5,"kind":"list","rows":{"input 1":{"digest":"i","version":"e.1"}}}`
	clear        = `{"partition":"r","client":1,"call":10,"return":11,"kind":"write","sets":{"snapshot":null},"result":"ok","version":"e.2"}`
	deletion     = `{"partition":"r","client":1,"call":10,"return":11,"kind":"write","sets":{"snapshot":null,"input 1":null,"receipt 1":null,"receipt 2":null},"result":"ok","version":"e.2"}`
	halfDeleted  = `{"partition":"r","client":2,"call":12,"return":13,"kind":"list","rows":{"input 1":{"digest":"i","version":"e.1"}}}`
	allDeleted   = `{"partition":"r","client":2,"call":12,"return":13,"kind":"list","rows":{}}`
	boundary2    = `{"partition":"r","client":1,"call":20,"return":21,"kind":"write","sets":{"receipt 1":"q"},"inserts":["receipt 1"],"result":"ok","version":"e.3"}`
	snapshotGone = `{"partition":"r","client":2,"call":12,"return":13,"kind":"read","record":"snapshot"}`
	replaceStale = `{"partition":"r","client":2,"call":12,"return":13,"kind":"write","sets":{"snapshot":"t"},"ifCurrent":{"record":"snapshot","version":"e.1"},"result":"RESULT","version":"e.3"}`
)

func with(line string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(line) }

func TestVerdicts(t *testing.T) {
	cases := []struct {
		name    string
		isLegal bool
		lines   []string
	}{
		{"a deletion of the runtime", true, []string{boundary, deletion, snapshotGone, allDeleted, boundary2}},
		{"a deletion that left a row", false, []string{boundary, deletion, snapshotGone, halfDeleted}},
		{"a read of the last write", true, []string{writeA, writeB, lateB}},
		{"a stale read", false, []string{writeA, writeB, lateA}},
		{"a read during a write", true, []string{writeA, writeB, between}},
		{"a write without a response that was seen", true, []string{writeA, openB, lateB}},
		{"a write without a response that was not seen", true, []string{writeA, openB, lateA}},
		{"a value that no client wrote", false, []string{writeA, lateB}},
		{"one write at two versions", false, []string{writeA, with(lateA, "e.1", "e.7")}},
		{"two writes at one version", false, []string{writeA, with(writeB, "e.2", "e.1")}},
		{"an old fence token refused", true, []string{lifecycle1, lifecycle2, with(oldFence, "RESULT", "FENCE_CONFLICT", `,"version":"e.3"`, "")}},
		{"an old fence token accepted", false, []string{lifecycle1, lifecycle2, with(oldFence, "RESULT", "ok")}},
		{"a fence token refused while it holds", false, []string{lifecycle1, with(oldFence, "RESULT", "FENCE_CONFLICT", `,"version":"e.3"`, "")}},
		{"one receipt, one refusal", true, []string{with(receipt, "CLIENT", "1", "RESULT", "ok"), with(receipt, "CLIENT", "2", "RESULT", "RECEIPT_EXISTS", `,"version":"e.CLIENT"`, "")}},
		{"a receipt twice", false, []string{with(receipt, "CLIENT", "1", "RESULT", "ok"), with(receipt, "CLIENT", "2", "RESULT", "ok")}},
		{"one of two compare-and-sets", true, []string{oauthInit, with(oauth, "CLIENT", "1", "RESULT", "ok"), with(oauth, "CLIENT", "2", "RESULT", "missed", `,"version":"e.CLIENT"`, "")}},
		{"a lost update", false, []string{oauthInit, with(oauth, "CLIENT", "1", "RESULT", "ok"), with(oauth, "CLIENT", "2", "RESULT", "ok")}},
		{"a boundary seen whole", true, []string{boundary, withSnapshot, withInput}},
		{"a boundary seen in part", false, []string{boundary, withSnapshot, withoutInput}},
		{"a clear", true, []string{boundary, clear, snapshotGone, with(replaceStale, "RESULT", "missed", `,"version":"e.3"`, "")}},
		{"a replacement of what was cleared", false, []string{boundary, clear, with(replaceStale, "RESULT", "ok")}},
		{"an unknown result", false, []string{with(writeA, "ok", "INTERNAL")}},
	}
	for _, one := range cases {
		t.Run(one.name, func(t *testing.T) {
			verdict := verdictOf(t, one.lines...)
			if isLegal := len(verdict.Illegal) == 0; isLegal != one.isLegal || len(verdict.Undecided) > 0 {
				t.Errorf("expected legal %v, got %+v", one.isLegal, verdict)
			}
		})
	}
}

func TestInvalidLinesAreRefused(t *testing.T) {
	for _, text := range []string{"{", `{"partition":"r","kind":"wish"}`} {
		if _, err := ReadHistories(strings.NewReader(text)); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}

func TestOpenOperationsAreCounted(t *testing.T) {
	verdict := verdictOf(t, writeA, openB)
	if verdict.Open != 1 || verdict.Operations != 2 || verdict.Partitions != 1 {
		t.Errorf("counted %+v", verdict)
	}
}
