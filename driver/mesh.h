/* The mesh that a plan is for, and what names a program whatever mesh it is for. */
#ifndef DLC_DRIVER_MESH_H
#define DLC_DRIVER_MESH_H

#include "driver/driver.h"

/* Gives the module the mesh that the options or the call ask for, if any; leaves when that is none,
 * or nothing stands behind it yet. */
void driver_mesh(Driver *d);
/* The layout in force as a block of the language; NULL: the plan is for one device. The text is the
 * scratch's. */
const char *driver_mesh_block(Driver *d);
/* Names the program, its mesh and its hints of shardings apart. */
uint64_t driver_program_hash(Driver *d);

#endif
