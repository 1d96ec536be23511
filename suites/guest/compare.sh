#!/bin/sh
# Runs programs and compares what they print and how they end, line for line, with what they did on the host's processor.
# /suite/list: lines "NAME SECONDS COMMAND"; COMMAND runs with sh in /work. Native output: /suite/native/NAME, or (gzip)
# NAME.gz, of which the last line is "status N". Without one, only the status is compared, with 0.
# Prints "= NAME STATUS LINES" where all is the same, else "! NAME STATUS LINES", the differences as diff prints them
# (at most LIMIT lines) after "! ", and "!!" behind them.
LIMIT=${LIMIT:-4000}
busybox=/usr/bin/busybox
mkdir -p /tmp/work
while read -r name seconds command; do
	cd /work 2> /dev/null || cd /tmp/work || exit
	timeout -s KILL "$seconds" sh -c "$command" > /tmp/got 2>&1 < /dev/null
	status=$?
	echo "status $status" >> /tmp/got
	native=/suite/native/$name
	if [ -e "$native.gz" ]; then $busybox zcat "$native.gz" > /tmp/native; native=/tmp/native; fi
	if [ ! -e "$native" ]; then echo "status 0" > /tmp/native; native=/tmp/native; fi
	if $busybox cmp -s /tmp/got "$native"; then
		echo "= $name $status $(wc -l < /tmp/got)"
		continue
	fi
	echo "! $name $status $(wc -l < /tmp/got)"
	$busybox diff "$native" /tmp/got | grep '^[-+]' | tail -n +3 | head -n "$LIMIT" | sed 's/^/! /'
	echo '!!'
done < /suite/list
