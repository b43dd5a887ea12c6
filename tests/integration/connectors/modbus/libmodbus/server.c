/* A Modbus server of libmodbus, unit 3: server tcp PORT | rtu DEVICE, then four lists of numbers separated by spaces,
 * what coils, discrete inputs, holding and input registers hold from address 0 on. What is beyond is an illegal address.
 * One client at a time; says {"event": "listening"} when it can be asked. */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 1024

static int numbers(char *text, unsigned long *found) {
    int count = 0;
    for (char *word = strtok(text, " "); word && count < MOST; word = strtok(NULL, " "))
        found[count++] = strtoul(word, NULL, 10);
    return count;
}

static void serve(modbus_t *line, modbus_mapping_t *held, int is_tcp) {
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    for (;;) {
        int size = modbus_receive(line, query);
        if (size > 0)
            modbus_reply(line, query, size, held);
        else if (size < 0 && is_tcp)
            return; /* the client has gone */
    }
}

int main(int argc, char **argv) {
    if (argc != 7)
        return 2;
    int is_tcp = strcmp(argv[1], "tcp") == 0;
    unsigned long values[4][MOST];
    int count[4];
    for (int table = 0; table < 4; table++)
        count[table] = numbers(argv[3 + table], values[table]);
    modbus_mapping_t *held = modbus_mapping_new(count[0], count[1], count[2], count[3]);
    modbus_t *line = is_tcp ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], 19200, 'N', 8, 1);
    if (!held || !line || modbus_set_slave(line, 3) < 0)
        return 1;
    for (int at = 0; at < count[0]; at++)
        held->tab_bits[at] = values[0][at];
    for (int at = 0; at < count[1]; at++)
        held->tab_input_bits[at] = values[1][at];
    for (int at = 0; at < count[2]; at++)
        held->tab_registers[at] = values[2][at];
    for (int at = 0; at < count[3]; at++)
        held->tab_input_registers[at] = values[3][at];
    int listener = is_tcp ? modbus_tcp_listen(line, 5) : modbus_connect(line);
    if (listener < 0) {
        fprintf(stderr, "%s: %s\n", argv[2], modbus_strerror(errno));
        return 1;
    }
    printf("{\"event\": \"listening\"}\n");
    fflush(stdout);
    while (!is_tcp || modbus_tcp_accept(line, &listener) >= 0) {
        serve(line, held, is_tcp);
        modbus_close(line);
    }
    return 1;
}
