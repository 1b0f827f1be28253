/*
 * The whole web UI: the plugins a person needs to fill a form, watch the task and read the catalog.
 * It knows nothing of the bridge: its forms and its entities reach the browser through Backstage.
 */
import '@backstage/ui/css/styles.css';
import { createApp } from '@backstage/frontend-defaults';
import catalog from '@backstage/plugin-catalog/alpha';
import catalogGraph from '@backstage/plugin-catalog-graph/alpha';
import org from '@backstage/plugin-org/alpha';
import scaffolder from '@backstage/plugin-scaffolder/alpha';
import userSettings from '@backstage/plugin-user-settings/alpha';
import React from 'react';
import ReactDOM from 'react-dom/client';

const app = createApp({ features: [catalog, catalogGraph, org, scaffolder, userSettings] });

ReactDOM.createRoot(document.getElementById('root')).render(app.createRoot());
